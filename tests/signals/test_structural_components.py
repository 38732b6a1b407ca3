"""Structural components of a scan: lazy as eager, saved and loaded, honest about limits; and of a simulated glass."""

import h5py
import hyperspy.api as hs
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

import medrange as mr
from medrange.pdf.fractions import fit_bases, fraction_maps
from medrange.pdf.peaks import find_peak
from medrange.signals.autocorrelation import autocorrelate_maps
from medrange.signals.weight_maps import remove_noise_spike

R = np.arange(0, 241) * 0.05
SHAPE = (24, 20)


@pytest.fixture(autouse=True, scope="module")
def one_blas_thread():
    with threadpool_limits(1, "blas"):
        yield


def peaks(first, width, height):
    shells = [(first, width, height), (1.68 * first, 0.8, 0.5 * height), (2.55 * first, 1.1, 0.3 * height)]
    curve = sum(h * np.exp(-4 * np.log(2) * ((R - p) / w) ** 2) for p, w, h in shells)
    return curve - 0.4 * R * np.exp(-R / 2.5)


TYPES = np.array([peaks(2.53, 0.65, 1.1), peaks(2.46, 0.48, 1.5)])


def weight_map(shape=SHAPE, seed=0):
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2, mode="wrap")
    return np.clip(0.5 + 0.3 * field / field.std(), 0, 1)


def make_pdf(weight=None, *, noise=0.03, dtype=np.float64, seed=1):
    weight = weight_map() if weight is None else weight
    data = weight[..., None] * TYPES[0] + (1 - weight[..., None]) * TYPES[1]
    # Noise of a PDF has the waves of its k range only.
    k = np.arange(0.25, 1.6, 0.0256)
    waves = np.sin(2 * np.pi * np.outer(k, R)) * np.sqrt(2 / k.size)
    data = data + noise * np.random.default_rng(seed).standard_normal((*weight.shape, k.size)) @ waves
    signal = mr.ReducedPDF(data.astype(dtype))
    for axis, name in zip(signal.axes_manager.navigation_axes, "xy", strict=True):
        axis.name, axis.scale, axis.units = name, 1.2, "nm"
    axis = signal.axes_manager.signal_axes[0]
    axis.name, axis.scale, axis.units = "r", 0.05, "Å"
    return signal


@pytest.fixture(scope="module")
def result():
    return make_pdf().structural_components(n_components=2)


def test_map_and_axes(result):
    assert isinstance(result, mr.StructuralComponents)
    assert type(result.basis) is mr.ReducedPDF
    assert result.labels == ("liquid-like", "solid-like")
    assert result.weights.data.shape == (2, *SHAPE)
    assert np.corrcoef(result.fraction_maps[0].ravel(), weight_map().ravel())[0, 1] > 0.98
    assert result.basis.r[0] == pytest.approx(1.5)
    assert result.basis.r[-1] == pytest.approx(12.0)
    assert [axis.name for axis in result.weights.axes_manager.signal_axes] == ["x", "y"]
    assert result.weights.axes_manager.signal_axes[0].scale == 1.2
    record = result.weights.metadata.Medrange.Provenance
    assert record.operation == "structural_components"
    assert record.parameters["n_components"] == 2
    assert "liquid-like R1 2.5" in repr(result)


def test_lazy_is_eager_whatever_the_chunks(result):
    for chunks in ((5, 7, 50), (24, 20, 241)):
        lazy = make_pdf().as_lazy()
        lazy.data = lazy.data.rechunk(chunks)
        assert type(lazy) is mr.LazyReducedPDF
        found = lazy.structural_components(n_components=2)
        np.testing.assert_allclose(found.weights.data, result.weights.data, atol=1e-6)
        np.testing.assert_allclose(found.basis.data, result.basis.data, atol=1e-6)
        assert not found.weights._lazy


def test_lazy_pdfs_are_never_whole_in_memory(monkeypatch):
    import dask

    from medrange.signals import profile_blocks

    lazy = make_pdf().as_lazy()
    lazy.data = lazy.data.rechunk((4, 20, 241))
    monkeypatch.setattr(profile_blocks, "_BATCH_BYTES", 1)
    largest, compute = [], dask.compute

    def watched(*chunks):
        values = compute(*chunks)
        largest.append(sum(block.nbytes for block in values))
        return values

    monkeypatch.setattr(profile_blocks.dask, "compute", watched)
    lazy.structural_components(n_components=2)
    # Two passes over six chunks, two at a time.
    assert len(largest) == 6
    assert max(largest) <= lazy.data.nbytes / 3


def test_single_precision_and_input_unchanged(result):
    signal = make_pdf(dtype=np.float32)
    before = signal.data.copy()
    found = signal.structural_components(n_components=2)
    assert found.weights.data.dtype == found.basis.data.dtype == np.float32
    np.testing.assert_allclose(found.weights.data, result.weights.data, atol=1e-3)
    np.testing.assert_array_equal(signal.data, before)


def test_pdfs_that_are_missing_stay_missing():
    signal = make_pdf()
    signal.data[3, 4] = np.nan
    with pytest.warns(UserWarning, match="1 of 480 PDFs are not finite"):
        found = signal.structural_components(n_components=2)
    assert np.isnan(found.weights.data[:, 3, 4]).all()
    assert np.isfinite(found.weights.data).sum() == 2 * 479
    assert found.null(n_surrogates=19).distinguishable
    assert np.isfinite(found.fractions()["fraction"]).all()


@pytest.mark.parametrize("ending", [".zspy", ".hspy"])
def test_saved_and_loaded(result, tmp_path, ending):
    files = result.save(tmp_path / f"glass{ending}")
    assert [file.name for file in files] == [f"glass_basis{ending}", f"glass_weights{ending}", "glass_scan.npz"]
    loaded = mr.StructuralComponents.load(tmp_path / f"glass{ending}")
    assert type(loaded.basis) is mr.ReducedPDF
    assert loaded.labels == result.labels
    assert loaded.parameters == result.parameters
    assert loaded.quality == result.quality
    np.testing.assert_array_equal(loaded.weights.data, result.weights.data)
    assert loaded.null(n_surrogates=19).observed == pytest.approx(result.null(n_surrogates=19).observed)
    np.testing.assert_allclose(loaded.table["band_low"], result.table["band_low"])
    assert type(hs.load(files[0])) is mr.ReducedPDF


def test_loading_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"glass_basis\.zspy"):
        mr.StructuralComponents.load(tmp_path / "glass")
    with pytest.raises(ValueError, match="does not end in"):
        mr.StructuralComponents.load(tmp_path / "glass.csv")


def test_peak_positions_and_connectivity(result):
    table = result.peak_positions
    assert table["component"].tolist() == list(result.labels)
    truth = find_peak(TYPES, R).position
    assert ((table["band_low"] - 0.005 <= truth) & (truth <= table["band_high"] + 0.005)).all()
    assert table.attrs["units"]["first_peak"] == "Å"
    links = result.connectivity()
    row = links[(links["component"] == "solid-like") & (links["shared_atoms"] == 3)].iloc[0]
    assert row["distance"] == pytest.approx(np.sqrt(8 / 3) * table["first_peak"][1])
    assert row["value"] == pytest.approx(np.interp(row["distance"], result.basis.r, result.basis.data[1]))
    assert len(links) == 8


def test_fractions_and_their_errors(result):
    table = result.fractions()
    assert table["fraction"].sum() == pytest.approx(1)
    assert table["fraction"][0] == pytest.approx(weight_map().mean(), abs=0.1)
    assert ((table["band_low"] < table["fraction"]) & (table["fraction"] < table["band_high"])).all()
    # Two types: what one gains the other loses.
    assert table["error"][0] == pytest.approx(table["error"][1], rel=0.15)
    assert table["error"][0] > 3 * np.std(result.fraction_maps[0]) / np.sqrt(480)
    assert result.fractions(block=1)["block"].tolist() == [1, 1]
    merged = result.table
    assert merged["fraction"].tolist() == table["fraction"].tolist()


def test_correlation_length_is_that_of_the_map_not_of_its_noise():
    """A Gaussian of 2 pixels correlates over 4 pixels, 4.8 nm; noise shortens the raw length."""
    maps = [gaussian_filter(np.random.default_rng(i).standard_normal((64, 64)), 2, mode="wrap") for i in range(12)]
    noise = np.random.default_rng(99)
    maps = [image / image.std() + noise.standard_normal(image.shape) for image in maps]
    raw = autocorrelate_maps(np.array(maps), list(range(12)), pixel_size=(1.2, 1.2))
    corrected, share = remove_noise_spike(raw)
    assert share.mean() == pytest.approx(0.5, abs=0.05)
    assert corrected.correlation_length.mean() == pytest.approx(4.8, rel=0.1)
    assert raw.correlation_length.mean() < 4.0
    np.testing.assert_array_equal(corrected.values[:, 0], 1)


def test_white_noise_has_no_length():
    noise = np.random.default_rng(0).standard_normal((1, 64, 64))
    _, share = remove_noise_spike(autocorrelate_maps(noise, ["map"], pixel_size=(1.0, 1.0)))
    assert share[0] > 0.9


def test_correlation_table_states_the_floor_of_the_probe(result):
    table = result.correlation_length(probe_fwhm=2.0)
    assert table["probe_floor"][0] == pytest.approx(2.0 * 2 / 2.3548, rel=1e-4)
    assert np.isnan(result.correlation_length()["probe_floor"]).all()
    signal = make_pdf()
    signal.metadata.set_item("Acquisition_instrument.TEM.convergence_angle", 0.6)
    signal.metadata.set_item("Acquisition_instrument.TEM.beam_energy", 300)
    # 0.514 x 0.019687 angstrom / 0.6 mrad = 1.69 nm
    found = signal.structural_components(n_components=2).correlation_length()
    assert found["probe_floor"][0] == pytest.approx(1.69 * 0.8493, rel=0.01)
    assert result.autocorrelation().values.shape[0] == 2


def test_uncalibrated_scan_has_fractions_but_no_lengths():
    signal = make_pdf()
    for axis in signal.axes_manager.navigation_axes:
        axis.units = ""
    found = signal.structural_components(n_components=2)
    assert np.isfinite(found.fractions()["error"]).all()
    with pytest.raises(ValueError, match="no length unit"):
        found.correlation_length()


def test_second_sample_on_the_basis_of_the_first(result):
    """More of the solid-like type in the second sample is seen as such, whatever its own factorization finds."""
    weight = 0.7 * weight_map(seed=3)
    second = make_pdf(weight, seed=4).structural_components(n_components=2).with_basis(result)
    assert second.basis is result.basis
    change = second.fractions()["fraction"][0] - result.fractions()["fraction"][0]
    assert change == pytest.approx(weight.mean() - weight_map().mean(), abs=0.05)
    assert set(second.quality) == {"signed_residual"}
    assert "StructuralComponents(2 by nmf" in repr(second)
    fit = fit_bases(make_pdf(weight, seed=4).data[..., 30:], result.basis.data)
    np.testing.assert_allclose(np.moveaxis(second.weights.data, 0, -1), fit.weights, atol=0.01)
    other = make_pdf().structural_components(n_components=2, r_range=(1.5, 8))
    with pytest.raises(ValueError, match="another r"):
        other.with_basis(result)


def test_stability_and_residuals(result):
    table = result.stability(n_runs=1)
    assert table["kind"].tolist() == ["restart"] * 2 + ["half"] * 4
    assert table["basis_correlation"].min() > 0.98
    assert result.residuals((1, 2))["residual"].is_monotonic_decreasing
    assert set(result.summary["quantity"]) >= {"residual", "clipped_fraction", "offset"}


@pytest.mark.filterwarnings("ignore:2 independent components did not come to rest")
@pytest.mark.parametrize("method", ["pca", "ica"])
def test_components_without_bounds(method):
    found = make_pdf().structural_components(n_components=2, method=method)
    # Two weights that add up to one are not independent: ICA does not come to rest, and ends where rounding takes it.
    least = {"pca": 0.95, "ica": 0.9}[method]
    assert np.corrcoef(found.weights.data[0].ravel(), weight_map().ravel())[0, 1] > least
    assert 0 < found.quality["explained"] <= 1
    assert "% of the variance" in repr(found)
    for use in (found.fractions, found.connectivity, found.stability):
        with pytest.raises(ValueError, match="Use 'nmf'"):
            use()


def test_three_components_of_two_types_are_flagged():
    found = make_pdf().structural_components()
    assert len(found.labels) == 3
    if not any(label.startswith("residual") for label in found.labels):
        assert "one may be split" in repr(found)
    assert found.parameters["normalization"] is None
    assert make_pdf().structural_components(negatives="offset").parameters["normalization"] == "first_peak"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "kmeans"}, "method='kmeans' is not known"),
        ({"negatives": "drop"}, "negatives='drop'"),
        ({"normalization": "area"}, "normalization='area'"),
        ({"r_range": (20, 30)}, "holds 0 of the distances"),
        ({"n_components": 9}, "n_components is 9"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        make_pdf().structural_components(**options)


def test_scan_must_be_two_dimensional_and_in_angstrom():
    with pytest.raises(ValueError, match="two-dimensional scan"):
        make_pdf().inav[0].structural_components()
    signal = make_pdf()
    signal.axes_manager.signal_axes[0].units = "nm"
    with pytest.raises(ValueError, match="must be in Å"):
        signal.structural_components()


# --- the simulated two-phase glass: what was planted is known -----------------------------------------------------


@pytest.fixture(scope="module")
def glass(data_folder):
    """Radial profiles of the simulated scan, its PDFs as in its description, and the planted map."""
    folder = data_folder / "sim" / "merlin_two_phase"
    with h5py.File(folder / "counts_binned2_full_scan.h5") as file:
        signal = mr.Nanodiffraction(file["frames"][:].reshape(36, 36, 128, 128))
    signal.calibrate(scan_step=1.2, k_step=0.256, beam_energy=300, convergence_angle=0.6)
    # truth.json gives the center in pixels of the frame before 2 x 2 binning.
    signal.set_center(((129.25 - 0.5) / 2, (126.75 - 0.5) / 2))
    profile = signal.radial_profile()
    return profile, to_pdf(profile), np.load(folder / "truth_maps.npz")["weight_A"].astype(float)


def to_pdf(profile):
    factor = profile.structure_factor("Fe", k_range=(0.25, 1.55), background="log_polynomial")
    return factor.reduced_pdf(r_max=12.0, r_step=0.02, window="lorch")


def figures(fractions, weight):
    fractions, weight = np.ravel(fractions), np.ravel(weight)
    slope = np.polyfit(weight, fractions, 1)[0]
    return np.corrcoef(fractions, weight)[0, 1], np.sqrt(np.mean((fractions - weight) ** 2)), slope


def phase_pdfs(pdf, weight):
    """PDFs of the two planted phases: regression of the scan on the planted map."""
    design = np.stack([weight.ravel(), 1 - weight.ravel()], axis=1)
    return np.linalg.lstsq(design, pdf.data.reshape(weight.size, -1), rcond=None)[0]


@pytest.mark.data
def test_two_planted_phases_are_found(glass):
    _, pdf, weight = glass
    found = pdf.structural_components(n_components=2)
    liquid, solid = found.peak_positions["first_peak"]
    assert liquid - solid == pytest.approx(0.077, abs=0.02)
    assert liquid == pytest.approx(2.54, abs=0.02)
    correlation, error, slope = figures(found.fraction_maps[0], weight)
    assert correlation > 0.95
    assert error < 0.07
    assert 0.9 < slope < 1.15
    low, high = found.band.liquid_fraction
    assert low < weight.mean() < high
    # The map was planted with a Gaussian; its own length by the same rule is the reference.
    planted = autocorrelate_maps(weight[None], ["planted"], pixel_size=(1.2, 1.2)).correlation_length[0]
    assert found.correlation_length()["correlation_length"][0] == pytest.approx(planted, rel=0.1)
    fractions = found.fractions()
    assert abs(fractions["fraction"][0] - weight.mean()) < 0.05


@pytest.mark.data
def test_planted_phases_lie_in_the_band(glass):
    _, pdf, weight = glass
    table = pdf.structural_components(n_components=2).peak_positions
    truth = find_peak(phase_pdfs(pdf, weight), pdf.r).position
    # 0.005: the statistical error of a first-peak position of these phases is some thousandths of an angstrom.
    assert ((table["band_low"] - 0.005 <= truth) & (truth <= table["band_high"] + 0.005)).all()


@pytest.mark.data
def test_fractions_on_the_phase_pdfs(glass):
    _, pdf, weight = glass
    fit = fit_bases(pdf.data, phase_pdfs(pdf, weight))
    correlation, error, slope = figures(fraction_maps(fit.weights)[..., 0], weight)
    assert correlation > 0.97
    assert error < 0.07
    assert slope == pytest.approx(1, abs=0.05)


@pytest.mark.data
def test_null_of_the_planted_scan(glass):
    _, pdf, _ = glass
    test = pdf.structural_components(n_components=2).null(n_surrogates=39)
    assert test.distinguishable
    # Split by noise alone, these patterns give two peaks 0.02 to 0.03 angstrom apart.
    assert 0.015 < test.expected["peak_gap"] < 0.035
    assert test.observed["peak_gap"] == pytest.approx(0.077, abs=0.02)


@pytest.mark.data
@pytest.mark.parametrize("phase", [0, 1])
def test_a_single_planted_phase_is_flagged(glass, phase):
    """One phase with the speckle of the scan itself: its mean profile times relative residuals, put in random order."""
    profile, _, weight = glass
    data = profile.data.reshape(weight.size, -1)
    design = np.stack([weight.ravel(), 1 - weight.ravel()], axis=1)
    means = np.linalg.lstsq(design, data, rcond=None)[0]
    speckle = data / (design @ means)
    flagged = 0
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(weight.size)
        single = profile.deepcopy()
        single.data = (means[phase] * speckle[order]).reshape(profile.data.shape)
        found = to_pdf(single).structural_components(n_components=2)
        flagged += not found.null(n_surrogates=39, seed=seed).distinguishable
    # Each is flagged with a probability of 0.95 or more.
    assert flagged >= 3
