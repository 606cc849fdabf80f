"""DICOM in: files and headers, the choice of a series, stacking, pixels, archives."""
