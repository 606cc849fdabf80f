"""A trained model as a bundle in one zip file: how it is written, what is in it, how it is read."""
