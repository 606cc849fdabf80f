"""``mose-med train``."""
