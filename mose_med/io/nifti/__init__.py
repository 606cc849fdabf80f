"""NIfTI: headers and their transforms, volumes, single slices, parallel compression."""
