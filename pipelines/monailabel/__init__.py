"""An app for MONAI Label: inference, choice of the next image and training, as the server calls them."""
