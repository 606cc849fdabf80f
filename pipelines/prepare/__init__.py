"""``mose-med prepare``: from each source to the datalist, and phantoms to try it on; whole or not at all."""
