"""Inferers for MONAI's engines: bundles name them as ``mose_med.inferers.<class>``."""
