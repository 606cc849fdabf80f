"""From the dense feature and codes to logits: plain, in tiles, and compiled."""
