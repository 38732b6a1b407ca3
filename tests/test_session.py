"""A session as a HyperSpy user would type it, eagerly and lazily, from the file to structural types."""

import hyperspy.api as hs
import numpy as np
import pytest

import medrange as mr

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("lazy", [False, True])
def test_session(lazy, tmp_path):
    s = mr.load(mr.datasets.sample_scan("empad"), lazy=lazy)
    s.calibrate(scan_step=0.6, scan_units="nm", k_step=0.16, k_units="1/nm", beam_energy=300, convergence_angle=1.15)
    s.fit_center()
    part = s.inav[2:6, 5:8].isig[-4.0:4.0, :]
    assert type(part) is type(s)
    assert part.geometry.k_step == s.geometry.k_step
    v = s.variance_map(k=4.0, width=0.8)
    p = s.angular_power_map(k=4.0, width=0.8, orders=(2, 4, 6, 8, 10))
    assert [type(v).__name__, type(p).__name__] == (["LazyOrderMap"] * 2 if lazy else ["OrderMap"] * 2)
    r = s.medium_range_order(k=4.0, width=0.8)
    r.compute()
    assert len(r.summary()) > 0
    r.save(tmp_path / "out.zspy")
    h = r.power.hotspots(thickness=20)
    assert len(h.summary) == len(r.power.orders) + 1
    n = r.power.null(seed=0)
    assert "n" in h.enrichment(n).columns
    cube = s.to_py4dstem()
    np.testing.assert_array_equal(mr.from_py4dstem(cube).data, np.asarray(s.data))
    assert mr.from_py4dstem(cube).geometry == s.geometry
    s.save(tmp_path / "scan.zspy")
    again = hs.load(tmp_path / "scan.zspy", lazy=lazy)
    assert type(again) is type(s)
    assert again.geometry == s.geometry
    s.axes_manager.convert_units(axes="signal", units="1/angstrom")
    assert s.axes_manager.signal_axes[0].scale == pytest.approx(0.016)
    assert s.metadata.Medrange.Geometry


def test_session_plots(tmp_path):
    s = mr.load(mr.datasets.sample_scan("empad"))
    s.fit_center()
    r = s.medium_range_order(k=4.0, width=0.8)
    r.plot()
    r.plot_orders(contour=r.variance)
    r.power.plot()
    roi = hs.roi.CircleROI(cx=4.0, cy=0.0, r=0.5)
    ring = roi(s, axes=s.axes_manager.signal_axes)
    assert ring.axes_manager.navigation_shape == s.axes_manager.navigation_shape


@pytest.mark.parametrize("lazy", [False, True])
def test_session_to_structural_types(lazy):
    s = mr.load(mr.datasets.sample_scan("merlin"), lazy=lazy)
    s.calibrate(scan_step=1.2, scan_units="nm", k_step=0.128, k_units="1/nm", beam_energy=300)
    s.fit_center()
    f = s.radial_profile().structure_factor(composition="Zr55Co25Al20", k_range=(0.25, 1.5))
    g = f.reduced_pdf(r_max=15)
    c = g.structural_components(n_components=2)
    assert c.basis.axes_manager.navigation_size == 2
    assert c.weights.axes_manager.signal_shape == (9, 7)
    assert c.fractions() is not None
    if not lazy:
        positive = g.deepcopy()
        positive.data = positive.data - positive.data.min()
        positive.decomposition(algorithm="NMF", output_dimension=2)
        assert positive.get_decomposition_factors().axes_manager.navigation_size == 2
