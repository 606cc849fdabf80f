"""What the folder of a case holds, light to import, without PyTorch: maps, lesions, DICOM objects, provenance."""
