"""Amplitudes of pyxem and py4DSTEM: the same curve but for factors that are theirs; skipped where they are absent."""

import contextlib
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from medrange.pdf.composition import mean_factors
from medrange.pdf.reduced_pdf import reduced_pdf
from medrange.pdf.structure_factor import Reduction, structure_factors

K = np.arange(320) * 0.005


def profile():
    mean, square = mean_factors("Fe80B20", K, parametrization="lobato")
    s = 1 + np.sinc(2 * K * 2.5) + 0.9 * np.sinc(2 * K * 4.2) * np.exp(-0.3 * K**2)
    return 50 * (square + mean**2 * (s - 1)) + 0.3


def slope(x, y):
    """Factor of y over x, and how well one factor does."""
    factor = (x @ y) / (x @ x)
    return factor, np.corrcoef(x, y)[0, 1]


@pytest.mark.slow
def test_pyxem_is_two_pi_larger():
    generators = pytest.importorskip("pyxem.generators.pdf_generator1d")
    reducing = pytest.importorskip("pyxem.generators.red_intensity_generator1d")
    signals = pytest.importorskip("pyxem.signals")
    data = np.tile(profile(), (1, 2, 1))
    signal = signals.ElectronDiffraction1D(data)
    signal.axes_manager.signal_axes[0].scale = 0.005
    with warnings.catch_warnings(), contextlib.redirect_stdout(None):
        warnings.simplefilter("ignore")
        generator = reducing.ReducedIntensityGenerator1D(signal)
        generator.set_s_cutoff(s_min=0.005, s_max=1.595)
        generator.fit_atomic_scattering(["Fe", "B"], [0.8, 0.2], N=50, C=0.3, plot_fit=False)
        intensity = generator.get_reduced_intensity()
        # With the window the last point, which their sum takes whole and the trapezoidal rule half, is 0.
        intensity.damp_lorch(s_max=1.595)
        theirs = generators.PDFGenerator1D(intensity).get_pdf(s_min=0, s_max=1.6, r_min=0, r_max=12)
    r = theirs.axes_manager.signal_axes[0].axis
    # Theirs fits N and C to the whole range.
    form = Reduction(k_range=(0.005, 1.595), polynomial_degree=None, tail=1.0, offset=True)
    ours = structure_factors(data[0, 0], K, "Fe80B20", reduction=form, parametrization="lobato")
    factor, correlation = slope(reduced_pdf(ours.values, ours.k, r, window="lorch", extend=False), theirs.data[0, 0])
    assert correlation > 0.999999
    assert factor == pytest.approx(2 * np.pi, rel=1e-4)


@pytest.mark.slow
def test_py4dstem_is_four_pi_squared_smaller():
    polar = pytest.importorskip("py4DSTEM.process.polar.polar_analysis")
    peer = SimpleNamespace(qq=K, radial_mean=profile())
    r, theirs = polar.calculate_pair_dist_function(
        peer, k_min=0.25, r_max=12, damp_origin_fluctuations=False, plot_reduced_pdf=False, returnval=True
    )
    # Their own phi(k), from their own background: only the transform is compared.
    ours = reduced_pdf(1 + peer.Sk[1:] / K[1:], K[1:], r, extend=False)
    factor, correlation = slope(theirs, ours)
    assert correlation > 0.999999
    assert factor == pytest.approx(4 * np.pi**2, rel=1e-4)
