"""``mose-med report``."""
