"""DICOM out, and SEG read back: segmentations, structured reports."""
