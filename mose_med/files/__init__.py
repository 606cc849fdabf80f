"""Files as files, whatever is in them: whole or not there, trees of them, archives, tables."""
