"""Which cases there are, and what is left to do."""
