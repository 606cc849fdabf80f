"""Where weights are: checkpoint files, bundles, and those that come with the package."""
