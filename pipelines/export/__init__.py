"""``mose-med export``."""
