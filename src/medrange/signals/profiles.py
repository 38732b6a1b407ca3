"""Profiles over k at every probe position."""

from __future__ import annotations

from hyperspy.signals import LazySignal1D, Signal1D


class RadialProfile(Signal1D):
    """Azimuthal mean intensity I(k), (y, x | k); k = 1/d in the units of its axis.

    A ring without an open detector pixel is NaN.

    Examples
    --------
    >>> import medrange as mr
    >>> profile = mr.RadialProfile([1.0, 2.0, 3.0])
    >>> profile
    <RadialProfile, title: , dimensions: (|3)>
    """

    _signal_type = "radial_profile"


class LazyRadialProfile(LazySignal1D, RadialProfile):
    """Lazy twin of :class:`RadialProfile`."""

    _lazy = True
