"""``mose-med config``: the settings that a training can have."""
