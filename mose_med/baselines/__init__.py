"""The methods that MoSE is compared with: a module each, with the network and its loss."""
