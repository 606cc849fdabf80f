"""``mose-med info``: what is installed, and what it can do."""
