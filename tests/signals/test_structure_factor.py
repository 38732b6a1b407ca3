"""StructureFactor: from profiles in any unit, eager and lazy alike, with what it was fitted from."""

import warnings

import hyperspy.api as hs
import numpy as np
import pytest
from hyperspy.signal import BaseSignal

import medrange as mr
from medrange.pdf import structure_factor as kernels
from medrange.pdf.composition import mean_factors

COMPOSITION = "Fe80B20"


def make_profiles(*, lazy=False, chunks=(2, 3, 50), units="1/nm", scan=(3, 4), dtype=np.float64):
    """Profiles of a glass-like S(k) with dose and structure that differ from place to place."""
    k = (np.arange(120) + 0.5) * 0.0134
    mean, square = mean_factors(COMPOSITION, k)
    rng = np.random.default_rng(0)
    r1, dose = rng.uniform(2.45, 2.55, scan), rng.uniform(50, 100, scan)
    s = 1 + np.sinc(2 * k * r1[..., None]) + 0.8 * np.sinc(2 * k * 1.65 * r1[..., None])
    data = dose[..., None] * (square + mean**2 * (s - 1))
    profile = mr.RadialProfile(data.astype(dtype))
    axis = profile.axes_manager.signal_axes[0]
    factor = {"1/nm": 10.0, "1/Å": 1.0}[units]
    axis.name, axis.units, axis.scale, axis.offset = "k", units, 0.0134 * factor, 0.0067 * factor
    for a, name in zip(profile.axes_manager.navigation_axes, "xy", strict=False):
        a.name, a.units, a.scale = name, "nm", 1.2
    profile.metadata.General.title = "glass"
    if lazy:
        profile = profile.as_lazy()
        profile.data = profile.data.rechunk(chunks)
    return profile


def arrays(signal):
    return np.asarray(signal.data)


@pytest.fixture(params=[{}, {"background": "log_polynomial"}, {"polynomial_degree": None}, {"offset": True}], ids=str)
def options(request):
    return {"k_range": (0.25, 1.55), **request.param}


def test_is_the_kernel(options):
    profile = make_profiles()
    found = profile.structure_factor(COMPOSITION, **options)
    k = profile.axes_manager.signal_axes[0].axis / 10
    reduction = kernels.Reduction(**options)
    expected = kernels.structure_factors(profile.data, k, COMPOSITION, reduction=reduction)
    np.testing.assert_allclose(found.data, expected.values)
    axis = found.axes_manager.signal_axes[0]
    assert axis.units == "1/Å"
    np.testing.assert_allclose(axis.axis, expected.k)
    np.testing.assert_allclose(found.normalization().data, expected.normalization)
    np.testing.assert_allclose(found.background().data, expected.background)
    np.testing.assert_allclose(found.polynomial().data, expected.polynomial)
    np.testing.assert_allclose(found.reduced_structure_factor().data, expected.reduced, atol=1e-12)
    np.testing.assert_allclose(found.profile().data, profile.data[..., reduction.inside(k)])


@pytest.mark.parametrize("chunks", [(2, 3, 50), (3, 4, 120), (1, 1, 7)])
def test_lazy_is_eager(options, chunks):
    eager = make_profiles().structure_factor(COMPOSITION, **options)
    lazy = make_profiles(lazy=True, chunks=chunks).structure_factor(COMPOSITION, **options)
    assert isinstance(lazy, mr.LazyStructureFactor)
    names = ["background", "normalization", "polynomial", "reduced_structure_factor", "profile"]
    names += ["coefficients"] if eager.reduction.powers.size else []
    np.testing.assert_allclose(arrays(lazy), eager.data, rtol=1e-10)
    for name in names:
        assert getattr(lazy, name)()._lazy
        np.testing.assert_allclose(arrays(getattr(lazy, name)()), getattr(eager, name)().data, rtol=1e-9, atol=1e-12)


def test_units_of_the_profile_do_not_matter():
    nm, angstrom = (make_profiles(units=u).structure_factor(COMPOSITION, k_range=(0.25, 1.55)) for u in ("1/nm", "1/Å"))
    np.testing.assert_allclose(nm.data, angstrom.data, atol=1e-12)
    np.testing.assert_allclose(nm.axes_manager[-1].axis, angstrom.axes_manager[-1].axis)


def test_axes_titles_and_record():
    factor = make_profiles().structure_factor(COMPOSITION, k_range=(0.25, 1.55), tail=0.2)
    assert [a.name for a in factor.axes_manager.navigation_axes] == ["x", "y"]
    assert factor.metadata.General.title == "S(k) of glass"
    assert factor.background().metadata.General.title == "intensity without structure of glass"
    assert factor.composition == pytest.approx({"Fe": 0.8, "B": 0.2})
    assert factor.reduction.tail == 0.2
    assert factor.reduction.k_range == pytest.approx((0.2613, 1.5477), abs=1e-4)
    record = factor.metadata.Medrange.Provenance.parameters
    assert record.composition == "Fe80B20"
    assert record.polynomial_degree == 4
    normalization = factor.normalization()
    assert normalization.axes_manager.signal_shape == (4, 3)
    assert normalization.axes_manager.signal_axes[0].scale == pytest.approx(1.2)


def test_float32_stays_and_input_is_unchanged():
    profile = make_profiles(dtype=np.float32)
    before = profile.data.copy()
    factor = profile.structure_factor(COMPOSITION, k_range=(0.25, 1.55))
    assert factor.data.dtype == np.float32
    np.testing.assert_array_equal(profile.data, before)
    assert profile.axes_manager[-1].units == "1/nm"


@pytest.mark.parametrize("scan", [(), (4,), (2, 3, 4)])
def test_any_number_of_scan_axes(scan):
    factor = make_profiles(scan=scan).structure_factor(COMPOSITION, k_range=(0.25, 1.55))
    assert factor.data.shape[:-1] == scan
    assert factor.background().data.shape == factor.data.shape
    assert factor.normalization().data.size == int(np.prod(scan))


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("ending", ["hspy", "zspy"])
@pytest.mark.filterwarnings("ignore:The NestedDirectoryStore")
def test_saved_and_loaded_whole(tmp_path, ending, lazy):
    factor = make_profiles().structure_factor(COMPOSITION, k_range=(0.25, 1.55), polynomial_degree=None)
    factor.save(tmp_path / f"s.{ending}")
    loaded = hs.load(tmp_path / f"s.{ending}", lazy=lazy)
    assert type(loaded) is (mr.LazyStructureFactor if lazy else mr.StructureFactor)
    assert type(loaded.profile()) is (mr.LazyRadialProfile if lazy else mr.RadialProfile)
    assert loaded.reduction == factor.reduction
    assert loaded.composition == factor.composition
    for name in ("background", "normalization", "reduced_structure_factor"):
        np.testing.assert_array_equal(arrays(getattr(loaded, name)()), arrays(getattr(factor, name)()))
    np.testing.assert_array_equal(arrays(loaded.reduced_pdf()), arrays(factor.reduced_pdf()))


def test_cut_along_the_scan_keeps_everything():
    factor = make_profiles().structure_factor(COMPOSITION, k_range=(0.25, 1.55))
    part = factor.inav[1:4, 2]
    assert type(part) is mr.StructureFactor
    np.testing.assert_allclose(part.background().data, factor.background().data[2, 1:4])
    np.testing.assert_allclose(factor.inav[2, 1].normalization().data, factor.normalization().data[1, 2])


def test_cut_in_k_transforms_but_has_no_background():
    cut = make_profiles().structure_factor(COMPOSITION, k_range=(0.25, 1.55)).isig[0.3:1.2]
    assert isinstance(cut.reduced_pdf(), mr.ReducedPDF)
    with pytest.raises(ValueError, match="give the range as k_range"):
        cut.background()


def test_averaged_factors_say_that_their_profiles_are_gone():
    mean = make_profiles().structure_factor(COMPOSITION, k_range=(0.25, 1.55)).mean()
    with pytest.raises(ValueError, match="summed, averaged or reshaped"):
        mean.background()
    assert isinstance(mean.reduced_pdf(), mr.ReducedPDF)


def test_mixed_laziness():
    factor = make_profiles().structure_factor(COMPOSITION, k_range=(0.25, 1.55))
    assert factor.as_lazy().background()._lazy
    computed = make_profiles(lazy=True).structure_factor(COMPOSITION, k_range=(0.25, 1.55))
    computed.compute()
    assert not computed.background()._lazy
    np.testing.assert_allclose(computed.background().data, factor.background().data)


def test_warns_of_a_polynomial_that_is_too_flexible():
    profile = make_profiles()
    with pytest.warns(UserWarning, match="degree 9 .* at most 5"):
        profile.structure_factor(COMPOSITION, k_range=(0.25, 1.55), polynomial_degree=9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profile.structure_factor(COMPOSITION, k_range=(0.25, 1.55), polynomial_degree=5)


def test_bad_profiles_are_nan():
    profile = make_profiles()
    profile.data[1, 2, 60] = np.nan
    with pytest.warns(UserWarning, match="1 of 12 profiles are NaN"):
        factor = profile.structure_factor(COMPOSITION, k_range=(0.25, 1.55))
    assert np.isnan(factor.data[1, 2]).all()
    assert np.isfinite(np.delete(factor.data.reshape(12, -1), 6, axis=0)).all()


def test_errors():
    profile = make_profiles()
    with pytest.raises(ValueError, match=r"k_range is in 1/angstrom"):
        profile.structure_factor(COMPOSITION, k_range=(2.5, 15.5))
    with pytest.raises(ValueError, match="unknown element 'Qq'"):
        profile.structure_factor("Qq2")
    with pytest.raises(TypeError, match="polynom"):
        profile.structure_factor(COMPOSITION, polynom=3)
    with pytest.raises(ValueError, match="no polynomial was fitted"):
        profile.structure_factor(COMPOSITION, k_range=(0.25, 1.55), polynomial_degree=None).coefficients()
    profile.axes_manager[-1].units = "px"
    with pytest.raises(ValueError, match="the k axis of the profile has no unit"):
        profile.structure_factor(COMPOSITION)


@pytest.mark.parametrize("lazy", [False, True])
def test_rings_without_open_pixels_are_named(make_scan, lazy):
    scan = make_scan((2, 2), lazy=lazy, size=64)
    rows, cols = np.indices((64, 64))
    scan.set_mask(np.hypot(rows - 31.3, cols - 32.4) < 6)
    profile = scan.radial_profile()
    assert isinstance(profile.metadata.Medrange.Rings.as_dictionary()["area"], np.ndarray)
    with pytest.raises(ValueError, match=r"rings of the k range, .* hold no open detector pixel"):
        profile.structure_factor("Ta", k_range=(0.03, 0.45))
    assert np.isfinite(arrays(profile.structure_factor("Ta", k_range=(0.12, 0.45), polynomial_degree=None))).all()


def test_stored_profile_is_a_signal():
    factor = make_profiles().structure_factor(COMPOSITION, k_range=(0.25, 1.55))
    assert isinstance(factor.metadata.Medrange.Structure_factor.profile, BaseSignal)
