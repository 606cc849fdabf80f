"""``mose-med demo``."""
