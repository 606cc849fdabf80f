"""Steps of ``mose-med calibrate``."""
