"""Backbones: an image in, a dense feature for every level out."""
