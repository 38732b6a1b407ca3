import hyperspy.api as hs
import numpy as np
import pytest

import medrange as mr


def test_fields_agree_with_the_single_methods(make_scan):
    signal = make_scan((3, 4))
    result = signal.medium_range_order(k=3.2, width=0.64, orders=(2, 4, 6))
    assert (result.variance.data == signal.variance_map(k=3.2, width=0.64).data).all()
    assert (result.power.data == signal.angular_power_map(k=3.2, width=0.64, orders=(2, 4, 6)).data).all()
    assert result.profile.data == pytest.approx(signal.radial_profile().data, rel=1e-9)
    assert result.power.orders == (2, 4, 6)
    assert result.band_spectrum.data[[1, 3, 5]] == pytest.approx(result.power.data.mean(axis=(1, 2)), rel=1e-9)
    assert result.band_spectrum.data.sum() == pytest.approx(result.variance.data.mean(), rel=1e-9)
    k = result.spectrum.axes_manager["k"]
    at_ring = signal.angular_power_map(k=float(k.axis[20]), width=k.scale, orders=range(1, 13)).data.mean(axis=(1, 2))
    assert result.spectrum.data[20] == pytest.approx(at_ring, rel=1e-6)


def test_without_k_resolved_only_the_ring_is_there(make_scan):
    result = make_scan((3, 4)).medium_range_order(k=3.2, width=0.64, k_resolved=False)
    assert list(result.signals) == ["variance", "power", "ring_mean", "band_spectrum"]
    assert result.profile is None
    assert result.spectrum is None


def test_compute_makes_everything_eager_in_place(make_scan):
    result = make_scan((3, 4), lazy=True).medium_range_order(k=3.2, width=0.64)
    assert "lazy, call compute()" in repr(result)
    with pytest.raises(ValueError, match=r"call compute\(\) on the result first"):
        result.summary()
    result.compute()
    assert type(result.power) is mr.OrderMap
    assert type(result.profile) is mr.RadialProfile
    assert "mean V2D" in repr(result)
    result.compute()


def test_summary_has_a_row_per_map(make_scan):
    result = make_scan((3, 4)).medium_range_order(k=3.2, width=0.64, orders=(2, 4))
    table = result.summary()
    assert list(table.index) == ["V2D", "P_2", "P_4", "ring mean"]
    assert table.loc["V2D", "mean"] == pytest.approx(result.variance.data.mean())


@pytest.mark.parametrize("ending", ["zspy", "hspy"])
def test_save_and_load(make_scan, tmp_path, ending):
    result = make_scan((3, 4)).medium_range_order(k=3.2, width=0.64)
    paths = result.save(tmp_path / f"out.{ending}")
    assert [path.name for path in paths] == [f"out_{name}.{ending}" for name in result.signals]
    for path, signal in zip(paths, result.signals.values(), strict=True):
        again = hs.load(path)
        assert type(again) is type(signal)
        assert np.array_equal(again.data, signal.data, equal_nan=True)
        assert again.metadata.Medrange.Provenance.operation == "medium_range_order"
    with pytest.raises(ValueError, match=r"must be \.zspy or \.hspy"):
        result.save(tmp_path / "out.tif")


@pytest.mark.parametrize(("name", "ending"), [("out.hspy", ".hspy"), ("out", ".zspy")])
def test_load_is_the_counterpart_of_save(make_scan, tmp_path, name, ending):
    scan = make_scan((5, 6), dtype=np.uint16)
    scan.calibrate(convergence_angle=1.15)
    result = scan.medium_range_order(k=3.2, width=0.64, orders=(2, 6, 4 + 3), shot_noise="poisson")
    result.save(tmp_path / name)
    again = mr.signals.mro_result.MROResult.load(tmp_path / name)
    assert repr(again) == repr(result)
    assert again.parameters == result.parameters
    assert list(again.signals) == list(result.signals)
    for field, signal in result.signals.items():
        assert type(again.signals[field]) is type(signal)
        assert np.array_equal(again.signals[field].data, signal.data, equal_nan=True)
    assert (again.null(n_realizations=2).power.maps == result.null(n_realizations=2).power.maps).all()
    bare = scan.medium_range_order(k=3.2, width=0.64, k_resolved=False)
    bare.save(tmp_path / "bare.hspy")
    assert type(result).load(tmp_path / "bare.hspy").profile is None
    with pytest.raises(FileNotFoundError, match=rf"has no none_variance{ending}, none_power"):
        type(result).load(tmp_path / f"none{ending}")


def test_plot_shows_all_orders_with_contours(make_scan):
    import matplotlib.pyplot as plt

    result = make_scan((8, 9)).medium_range_order(k=3.2, width=0.64)
    axes = result.plot()
    assert len(np.ravel(axes)) >= 5
    plt.close("all")
