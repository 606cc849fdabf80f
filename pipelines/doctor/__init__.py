"""``mose-med doctor``."""
