"""From slices to a volume: acquisitions, positions, missing slices, and the grid."""
