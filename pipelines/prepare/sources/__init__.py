"""One module per source of data: what its command does."""
