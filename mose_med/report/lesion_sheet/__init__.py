"""A sheet for each lesion: its slices with all outlines, every expert on the middle slice, and its volume."""
