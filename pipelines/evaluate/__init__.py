"""``mose-med evaluate``."""
