"""The other methods that the paper compares with, and common alternatives: networks and their losses."""
