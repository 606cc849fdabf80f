"""From the dense feature and codes to logits: the plain way, in tiles, and compiled."""
