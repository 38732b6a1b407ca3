"""ReducedPDF: the whole chain of a scan, peaks and errors, eager and lazy, and the two-phase scan of known truth."""

import h5py
import hyperspy.api as hs
import numpy as np
import pandas as pd
import pytest

import medrange as mr
from medrange.pdf import pair_distribution as shells
from medrange.pdf import peaks
from medrange.pdf.composition import mean_factors
from medrange.pdf.reduced_pdf import reduced_pdf


def arrays(signal):
    return np.asarray(signal.data)


@pytest.fixture(scope="module")
def patterns():
    """Counts (5, 6, 64, 64) of glassy rings at 0.05 1/Å per pixel, which reach to 1.6 1/Å."""
    rng = np.random.default_rng(0)
    rows, cols = np.indices((64, 64))
    k = np.hypot(rows - 31.5, cols - 31.5) * 0.05
    mean, square = mean_factors("Fe", k)
    frames = np.empty((5, 6, 64, 64), np.uint16)
    for y, x in np.ndindex(5, 6):
        r1 = 2.45 + 0.02 * x
        s = 1 + np.sinc(2 * k * r1) + 0.8 * np.sinc(2 * k * 1.65 * r1)
        frames[y, x] = rng.poisson(200 * (square + mean**2 * (s - 1)))
    return frames


def make_scan(patterns, *, lazy=False):
    scan = mr.Nanodiffraction(patterns)
    if lazy:
        scan = scan.as_lazy()
        scan.data = scan.data.rechunk((2, 4, 64, 64))
    scan.calibrate(scan_step=1.2, k_step=0.5, k_units="1/nm", beam_energy=300, convergence_angle=0.6)
    scan.set_center((31.5, 31.5))
    return scan


def make_pdf(patterns, *, lazy=False, error=True, **options):
    factor = make_scan(patterns, lazy=lazy).radial_profile().structure_factor("Fe", k_range=(0.25, 1.55), **options)
    return factor.reduced_pdf(r_max=9.5, error=error)


def test_is_the_kernel(patterns):
    factor = make_scan(patterns).radial_profile().structure_factor("Fe", k_range=(0.25, 1.55))
    g = factor.reduced_pdf(r_max=9, r_step=0.1, window="lorch", extend=False, correct_convergence=True)
    k = factor.axes_manager[-1].axis
    # 0.6 mrad at 300 kV: 0.6e-3/0.019687 1/angstrom.
    expected = reduced_pdf(factor.data, k, np.arange(91) * 0.1, window="lorch", extend=False, k_aperture=0.030476)
    np.testing.assert_allclose(g.data, expected, rtol=1e-4, atol=1e-4)
    axis = g.axes_manager.signal_axes[0]
    assert (axis.name, axis.units, axis.offset, axis.size) == ("r", "Å", 0.0, 91)
    assert g.metadata.General.title == "G(r)"
    assert g.metadata.Medrange.Provenance.parameters.window == "lorch"


def test_lazy_is_eager(patterns):
    eager, lazy = make_pdf(patterns), make_pdf(patterns, lazy=True)
    assert isinstance(lazy, mr.LazyReducedPDF)
    tolerance = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(arrays(lazy), eager.data, **tolerance)
    np.testing.assert_allclose(arrays(lazy.error_band()), eager.error_band().data, **tolerance)
    for method in ("first_peak", "second_peak"):
        for name in ("position", "height", "fwhm"):
            one, other = (getattr(getattr(g, method)(), name) for g in (eager, lazy))
            assert other._lazy
            np.testing.assert_allclose(arrays(other), one.data, rtol=1e-4, atol=1e-4)
    for method in (lambda g: g.pair_distribution(0.08), lambda g: g.coordination_number(0.08)):
        assert method(lazy)._lazy
        np.testing.assert_allclose(arrays(method(lazy)), method(eager).data, rtol=1e-4, atol=1e-4)
    assert repr(lazy.first_peak()) == "PeakMaps(not computed)"


def test_maps_are_the_kernels(patterns):
    g = make_pdf(patterns)
    first = peaks.find_peak(g.data, g.r)
    np.testing.assert_allclose(g.first_peak().position.data, first.position)
    np.testing.assert_allclose(g.first_peak().fwhm.data, first.fwhm)
    second, shoulder = peaks.find_second_peaks(g.data, g.r, first.position)
    np.testing.assert_allclose(g.second_peak().position.data, second.position)
    np.testing.assert_allclose(g.second_peak().shoulder.data, shoulder)
    np.testing.assert_allclose(
        g.pair_distribution(0.08).data, shells.pair_distribution(g.data, g.r, density=0.08), 1e-5
    )
    counted = shells.coordination_number(g.data, g.r, density=0.08)
    np.testing.assert_allclose(g.coordination_number(0.08).data, counted)
    assert g.first_peak().position.axes_manager.signal_shape == (6, 5)
    # The planted distances grow along x by 0.1 angstrom in all.
    column = g.first_peak().position.data.mean(axis=0)
    assert np.corrcoef(column, np.arange(6))[0, 1] > 0.98
    assert column[-1] - column[0] == pytest.approx(0.1, abs=0.03)


def test_connectivity_table(patterns):
    g = make_pdf(patterns)
    table = g.connectivity()
    assert isinstance(table, pd.DataFrame)
    assert list(table["shared_atoms"]) == [1, 2, 3, 4]
    first = table["first_peak"][0]
    np.testing.assert_allclose(table["distance"], first * np.array([2, 3**0.5, (8 / 3) ** 0.5, 2**0.5]))
    assert table.attrs["units"]["distance"] == "Å"
    several = g.inav[:3, 0].connectivity()
    assert list(several["curve"].unique()) == [0, 1, 2]
    assert several["first_peak"].nunique() == 3


def test_error_band_matches_the_scatter_of_equal_patterns():
    # Twelve hundred patterns of the same place.
    rng = np.random.default_rng(1)
    rows, cols = np.indices((64, 64))
    k = np.hypot(rows - 31.5, cols - 31.5) * 0.05
    _, square = mean_factors("Fe", k)
    scan = make_scan(rng.poisson(np.broadcast_to(20 * square, (30, 40, 64, 64))).astype(np.uint16))
    factor = scan.radial_profile().structure_factor("Fe", k_range=(0.25, 1.55))
    g = factor.reduced_pdf(r_max=9.5, error=True)
    scatter, band = g.data.std(axis=(0, 1)), g.error_band().data.mean(axis=(0, 1))
    kept = g.r > 0.5
    # The scatter of 1200 is known to 2 %. Pixels shared by two rings (rings are one pixel wide here) make neighboring
    # rings vary together, which the formula leaves out: exact at small r, too large towards r = 1/(2 dk).
    ratio = scatter[kept] / band[kept]
    assert np.median(ratio[: kept.sum() // 2]) == pytest.approx(1, abs=0.1)
    assert ratio.max() < 1.2
    assert ratio.min() > 0.5


def test_gain_and_its_absence(patterns):
    scan = make_scan(patterns)
    counted = make_pdf(patterns).error_band().data
    scan.change_dtype("float32")
    factor = scan.radial_profile().structure_factor("Fe", k_range=(0.25, 1.55))
    with pytest.raises(ValueError, match="needs the detector's gain"):
        factor.reduced_pdf(r_max=9.5, error=True)
    np.testing.assert_allclose(factor.reduced_pdf(r_max=9.5, error=True, gain=4).error_band().data, 2 * counted, 1e-4)
    with pytest.raises(ValueError, match="gain is only used with error=True"):
        factor.reduced_pdf(r_max=9.5, gain=4)
    with pytest.raises(ValueError, match="carry no counting error"):
        factor.reduced_pdf(r_max=9.5).error_band()
    profile = scan.radial_profile()
    del profile.metadata.Medrange.Rings
    with pytest.raises(ValueError, match="does not say how many detector pixels"):
        profile.structure_factor("Fe", k_range=(0.25, 1.55)).reduced_pdf(r_max=9.5, error=True, gain=1)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("ending", ["hspy", "zspy"])
@pytest.mark.filterwarnings("ignore:The NestedDirectoryStore")
def test_saved_and_loaded_whole(tmp_path, patterns, ending, lazy):
    g = make_pdf(patterns)
    g.save(tmp_path / f"g.{ending}")
    loaded = hs.load(tmp_path / f"g.{ending}", lazy=lazy)
    assert type(loaded) is (mr.LazyReducedPDF if lazy else mr.ReducedPDF)
    np.testing.assert_array_equal(arrays(loaded), g.data)
    np.testing.assert_array_equal(arrays(loaded.error_band()), g.error_band().data)
    assert loaded.metadata.Medrange.Reduced_pdf.as_dictionary() == g.metadata.Medrange.Reduced_pdf.as_dictionary()
    np.testing.assert_array_equal(arrays(loaded.first_peak().position), g.first_peak().position.data)


def test_cut_keeps_the_error(patterns):
    g = make_pdf(patterns)
    np.testing.assert_array_equal(g.inav[2, 1].error_band().data, g.error_band().data[1, 2])
    np.testing.assert_array_equal(g.isig[2.0:4.0].error_band().data, g.error_band().data[..., 40:80])
    with pytest.raises(ValueError, match="carry no counting error"):
        g.mean().error_band()


def test_density_line_needs_no_polynomial(patterns):
    g = make_pdf(patterns)
    with pytest.warns(UserWarning, match=r"polynomial of degree 4 .* polynomial_degree=None"):
        g.pair_distribution()
    with pytest.warns(UserWarning, match="polynomial of degree 4"):
        g.coordination_number(0.08, use_density_line=True)


def test_errors(patterns):
    factor = make_scan(patterns).radial_profile().structure_factor("Fe", k_range=(0.25, 1.55))
    with pytest.raises(ValueError, match=r"1/\(2 dk\) = 10"):
        factor.reduced_pdf(r_max=15)
    with pytest.raises(ValueError, match="r_step is 0"):
        factor.reduced_pdf(r_max=9, r_step=0)
    with pytest.raises(ValueError, match="None, 'lorch', 'exponential'"):
        factor.reduced_pdf(r_max=9, window="hann")
    del factor.metadata.Acquisition_instrument
    with pytest.raises(ValueError, match=r"convergence_angle=0\.6, beam_energy=300"):
        factor.reduced_pdf(r_max=9, correct_convergence=True)
    cut = factor.isig[0.3:1.2]
    with pytest.raises(ValueError, match="cut in k"):
        cut.reduced_pdf(r_max=9, error=True)


@pytest.mark.data
def test_two_phase_scan(data_folder):
    """36 x 36 positions of two glasses, first maxima of g 2.52 and 2.44; a plain analysis finds 2.541 and 2.464."""
    folder = data_folder / "sim" / "merlin_two_phase"
    with h5py.File(folder / "counts_binned2_full_scan.h5") as file:
        frames = file["frames"][()].reshape(36, 36, 128, 128)
    scan = mr.Nanodiffraction(frames)
    scan.calibrate(scan_step=1.2, k_step=0.256, k_units="1/nm", beam_energy=300)
    scan.set_center((64.375, 63.125))
    profile = scan.radial_profile()
    truth = np.load(folder / "truth_maps.npz")
    weight, dose = truth["weight_A"], truth["factor_T"]
    # The phases' own profiles, by least squares on the known weights.
    columns = np.stack([dose * weight, dose * (1 - weight)], axis=-1).reshape(-1, 2)
    phases = np.linalg.lstsq(columns, profile.data.reshape(columns.shape[0], -1).astype(float), rcond=None)[0]
    options = {"k_range": (0.25, 1.55), "background": "log_polynomial"}
    k_axis = profile.axes_manager[-1].get_axis_dictionary()
    single = mr.RadialProfile(phases, axes=[{"size": 2, "navigate": True}, k_axis])
    a, b = single.structure_factor("Fe", **options).reduced_pdf(r_max=12, window="lorch").first_peak().position.data
    assert a == pytest.approx(2.54, abs=0.02)
    assert a - b == pytest.approx(0.077, abs=0.02)
    g = profile.structure_factor("Fe", **options).reduced_pdf(r_max=12, window="lorch")
    position = g.first_peak().position.data
    # .955 by the plain analysis; noise and the window let it vary by .02.
    assert np.corrcoef(position.ravel(), weight.ravel())[0, 1] > 0.935
