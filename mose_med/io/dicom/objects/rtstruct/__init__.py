"""DICOM structure sets (RTSTRUCT): contours read, turned into masks, and written."""
