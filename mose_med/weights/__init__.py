"""Finds weights: checkpoint files, bundles, and the shipped ones."""
