"""``mose-med calibrate``."""
