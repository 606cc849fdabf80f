"""The user's own images, each with the masks of one or more raters."""
