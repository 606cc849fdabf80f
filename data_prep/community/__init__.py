"""The community's files of LIDC slices: ``data_lidc.pickle`` and ``data_lidc.hdf5``.

Both hold square slices of nodules in (row, col) order, intensities scaled to [0, 1] (the HDF5 file shifts them by -0.5)
and four masks a slice. Neither gives the position of a slice in the patient, or the patient apart from the series.
"""
