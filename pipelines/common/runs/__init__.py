"""Folders that runs write into: claims, content, and how a run ends."""
