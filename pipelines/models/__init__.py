"""Versions of a model in an MLflow registry: keeping, comparing and promoting them."""
