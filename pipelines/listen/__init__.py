"""``mose-med listen``: a DICOM node that infers what it is sent."""
