"""DICOM segmentations (SEG): read and written."""
