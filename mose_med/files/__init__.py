"""Files regardless of their content: atomic writes, trees, archives, tables."""
