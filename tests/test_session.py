"""A session as a HyperSpy user would type it, line by line, eagerly and lazily, from the file to structural types."""

import hyperspy.api as hs
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import py4DSTEM
import pytest

import medrange as mr

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("lazy", [False, True])
def test_session(lazy, tmp_path):
    lazily = "Lazy" if lazy else ""
    s = mr.load(mr.datasets.sample_scan("empad"), lazy=lazy)
    assert type(s).__name__ == f"{lazily}Nanodiffraction"
    assert s.axes_manager.navigation_shape + s.axes_manager.signal_shape == (14, 11, 128, 128)
    if lazy:
        assert s.navigator is not None
    s.calibrate(scan_step=0.6, scan_units="nm", k_step=0.16, k_units="1/nm", beam_energy=300, convergence_angle=1.15)
    s.fit_center()
    # Whole numbers are positions, others are in the axes' units; the class and the geometry are kept.
    row, ring = s.inav[4:9, 5], s.isig[2.0:6.0, :]
    assert type(row) is type(ring) is type(s)
    assert (row.axes_manager.navigation_shape, ring.axes_manager.signal_shape) == ((5,), (25, 128))
    assert row.geometry == s.geometry
    assert ring.geometry.center[0] == s.geometry.center[0]
    assert ring.axes_manager.signal_axes[0].low_value == pytest.approx(2.0, abs=0.16)
    v = s.variance_map(k=4.0, width=0.8)
    p = s.angular_power_map(k=4.0, width=0.8, orders=(2, 4, 6, 8, 10))
    assert [type(v).__name__, type(p).__name__] == [f"{lazily}OrderMap"] * 2
    assert (v.data.shape, p.data.shape) == ((11, 14), (5, 11, 14))
    r = s.medium_range_order(k=4.0, width=0.8)
    r.compute()
    assert not r.variance._lazy
    np.testing.assert_allclose(r.variance.data, np.asarray(v.data), rtol=1e-6)
    np.testing.assert_allclose(r.power.data, np.asarray(p.data), rtol=1e-6)
    assert len(r.summary()) > 0
    assert r.profile.data.shape[:2] == (11, 14)
    r.plot()
    r.save(tmp_path / "out.zspy")
    h = r.power.hotspots(thickness=20)
    assert isinstance(h.table, pd.DataFrame)
    assert len(h.summary) == len(r.power.orders) + 1
    # One image of regions per order, and of their sum.
    assert h.labels.data.shape == (6, 11, 14)
    n = r.power.null(seed=0)
    assert "n" in h.enrichment(n).columns
    p.plot()
    r.plot_orders(contour=r.variance)
    roi = hs.roi.CircleROI(cx=4.0, cy=0.0, r=0.5)
    vdf = s.get_integrated_intensity(roi)
    expected = np.nansum(roi(s, axes=s.axes_manager.signal_axes).data, axis=(2, 3))
    np.testing.assert_array_equal(np.asarray(vdf.data), np.asarray(expected))
    s.save(tmp_path / "scan.zspy")
    s2 = hs.load(tmp_path / "scan.zspy", lazy=True)
    assert type(s2) is mr.LazyNanodiffraction
    assert s2.geometry == s.geometry
    assert s.metadata.Medrange.Geometry
    s.axes_manager.convert_units(axes="signal", units="1/angstrom")
    assert s.axes_manager.signal_axes[0].scale == pytest.approx(0.016)
    np.testing.assert_allclose(s.variance_map(k=0.4, width=0.08).data, np.asarray(v.data), rtol=1e-6)
    dc = s.to_py4dstem()
    assert type(dc) is py4DSTEM.DataCube
    back = mr.from_py4dstem(dc)
    np.testing.assert_array_equal(back.data, np.asarray(s.data))
    assert back.geometry == s.geometry


@pytest.mark.parametrize("lazy", [False, True])
def test_session_to_structural_types(lazy):
    s = mr.load(mr.datasets.sample_scan("merlin"), lazy=lazy)
    s.calibrate(scan_step=1.2, scan_units="nm", k_step=0.128, k_units="1/nm", beam_energy=300)
    s.fit_center()
    g = s.radial_profile().structure_factor(composition="Zr55Co25Al20").reduced_pdf(r_max=15)
    assert g._lazy is lazy
    c = g.structural_components(n_components=3)
    c.basis.plot()
    c.weights.plot()
    assert c.basis.axes_manager.navigation_size == 3
    assert c.weights.axes_manager.signal_shape == (9, 7)
    assert c.fractions()["fraction"].sum() == pytest.approx(1)
    with pytest.warns(UserWarning, match=r"the curves are negative in places, and NMF needs values of 0 and above"):
        g.decomposition(algorithm="NMF", output_dimension=3)
    assert g.get_decomposition_factors().data.min() >= 0
    assert g.get_decomposition_factors().axes_manager.navigation_size == 3
    assert g.get_decomposition_loadings().axes_manager.signal_shape == (9, 7)
    # What was decomposed is G(r) and one number, and G(r) itself is as it was.
    model = np.asarray(g.get_decomposition_model(3).data) - g.metadata.Medrange.Decomposition.offset
    values = np.asarray(g.data)
    assert values.min() < 0
    if not lazy:
        # HyperSpy's lazy NMF is that of batches, a rougher one.
        assert np.std(model - values) < 0.5 * np.std(values)


@pytest.mark.parametrize("lazy", [False, True])
def test_decompositions_of_hyperspy_that_need_no_offset(lazy):
    s = mr.load(mr.datasets.sample_scan("merlin"), lazy=lazy)
    s.calibrate(scan_step=1.2, k_step=0.128)
    s.fit_center()
    p = s.radial_profile(k_max=10)
    p.decomposition(algorithm="NMF", output_dimension=2)
    assert p.get_decomposition_factors().axes_manager.navigation_size == 2
    g = p.structure_factor("Zr55Co25Al20", k_range=(0.25, 0.95)).reduced_pdf()
    g.decomposition(algorithm="PCA" if lazy else "SVD", output_dimension=2)
    assert not g.metadata.has_item("Medrange.Decomposition")
    assert g.get_decomposition_factors().data.shape[0] == 2
