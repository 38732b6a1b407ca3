"""Pair distribution functions from diffraction: arrays of one dimension, no signals."""
