"""Array kernels: numpy arrays in, numpy arrays out; no dask, no HyperSpy, no matplotlib."""
