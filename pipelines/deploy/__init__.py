"""A series in, DICOM objects and a report out: for MONAI Deploy, and for platforms that run an image on a folder."""
