"""``mose-med retrain``."""
