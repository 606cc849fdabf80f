"""What several commands share: console, options, weights, devices, provenance."""
