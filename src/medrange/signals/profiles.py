"""Profiles over k at every probe position."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Literal

from hyperspy.signals import LazySignal1D, Signal1D

from medrange.pdf.structure_factor import Reduction
from medrange.signals.exporting import to_csv
from medrange.signals.structure_factor import StructureFactor, structure_factor


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

    def structure_factor(
        self,
        composition: str | dict[str, float] | Any,
        *,
        k_range: tuple[float, float] | None = None,
        polynomial_degree: int | None = 4,
        background: Literal["polynomial", "log_polynomial"] = "polynomial",
        parametrization: Literal["kirkland", "lobato", "peng"] = "kirkland",
        **options: Any,
    ) -> StructureFactor:
        """Structure factor ``S(k) = 1 + (I - N <f^2>)/(N <f>^2) - p(k)/k``, (y, x | k), with k in 1/Å.

        N matches the self-scattering ``N <f^2>`` to the end of the k range; the polynomial p takes out plural
        and inelastic scattering, which is smooth in an amorphous material. Positions of peaks in G(r) hardly
        depend on that background, amplitudes do. See [Kang2024]_.

        Parameters
        ----------
        composition : str, dict or ase.Atoms
            Atomic composition, ``"Fe85.2Si0.5B9.5P4Cu0.8"``.
        k_range : tuple of float, optional
            First and last k in 1/Å, whatever the units of the profile: outside the direct beam and its tails,
            inside the noise. All rings by default.
        polynomial_degree : int, optional
            Degree of p; None for none.
        background : str
            ``"polynomial"`` as above; ``"log_polynomial"`` for thick samples: the polynomial is fitted to
            ln(I/<f^2>) and divided out.
        parametrization : str
            Table of scattering factors.
        **options
            Further fields of :class:`medrange.pdf.structure_factor.Reduction`: ``polynomial_constant``,
            ``normalization``, ``tail``, ``offset``, ``denominator``.

        Returns
        -------
        StructureFactor
            Lazy where the profile is. Its ``background()``, ``normalization()``, ``polynomial()`` are signals
            to look at; ``reduced_pdf()`` is the next step.

        Raises
        ------
        ValueError
            If the composition cannot be read, the k axis has no unit, or the k range does not fit.

        Warns
        -----
        UserWarning
            If the polynomial could follow the oscillation of nearest neighbors, ``degree >= 2 (k_max - k_min)
            r1 - 1`` with r1 = 2.5 angstrom.
        """
        options |= {"k_range": k_range, "polynomial_degree": polynomial_degree, "background": background}
        return structure_factor(self, composition, Reduction(**options), parametrization)

    def to_csv(self, path: str | PathLike) -> Path:
        """Write I(k), of a scan its mean and standard deviation over positions: :func:`medrange.to_csv`."""
        return to_csv(self, path)


class LazyRadialProfile(LazySignal1D, RadialProfile):
    """Lazy twin of :class:`RadialProfile`."""

    _lazy = True
