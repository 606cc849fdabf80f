"""Backbones: an image in, a global feature for the gating and a dense one for the head out."""
