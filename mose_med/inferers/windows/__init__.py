"""What the network is shown of a case, and how its answers are put together."""
