"""The other methods that the paper compares with, and what people use beside them: networks and their losses."""
