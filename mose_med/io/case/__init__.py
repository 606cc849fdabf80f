"""The folder of a case: how it is written and read back."""
