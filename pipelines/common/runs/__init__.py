"""Folders that runs write into: claims, locks, content, and how a run ends."""
