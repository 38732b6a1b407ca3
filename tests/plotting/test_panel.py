import sys
from types import SimpleNamespace

import numpy as np
import pytest

import medrange as mr
from medrange.geometry import Descan
from medrange.signals.ring_cube import ring_cube

# Edges of the ring on multiples of half a detector pixel (0.08 1/nm): 2.72 .. 3.68.
RING = {"k": 3.2, "width": 0.96}


def close(image, expected, masked=False):
    """Within rounding: the rings are float32, and P_n holds differences of a few percent of the mean.

    At a mask a bin may be open enough in some of the fine rings only of which the ring consists: a percent.
    """
    rtol, atol = (1e-2, 5e-3) if masked else (2e-5, 1e-8)
    np.testing.assert_allclose(image, expected, rtol=rtol, atol=atol * np.nanmax(np.abs(expected)))


def wedge(shape=(64, 64)):
    rows, columns = np.indices(shape)
    return (columns > 32) & (np.abs(rows - 31) < 5)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_maps_are_those_of_the_signal(make_scan, lazy, masked):
    s = make_scan((5, 7), lazy=lazy, chunks=(2, 7, 64, 64))
    if masked:
        s.set_mask(wedge())
    panel = mr.explore(s, n=4, **RING)
    eager = make_scan((5, 7))
    if masked:
        eager.set_mask(wedge())
    close(panel.image, eager.angular_power_map(**RING, orders=(4,)).data[0], masked)
    panel.n.value = 7
    close(panel.image, eager.angular_power_map(**RING, orders=(7,)).data[0], masked)
    panel.quantity.value = "V2D"
    close(panel.image, eager.variance_map(**RING).data, masked)
    panel.quantity.value = "ring mean"
    close(panel.image, eager.annular_dark_field(**RING).data, masked)
    # An odd number of half pixels: the radius lies between detector pixels.
    panel.k.value, panel.width.value = 2.0, 0.48
    close(panel.image, eager.annular_dark_field(k=2.0, width=0.48).data, masked)
    panel.quantity.value, panel.n.value = "P_n", 2
    close(panel.image, eager.angular_power_map(k=2.0, width=0.48, orders=(2,)).data[0], masked)


def test_the_call_computes_the_map(make_scan):
    s = make_scan((5, 7))
    panel = mr.explore(s, n_phi=24, n=6, **RING)
    for quantity in ("P_n", "V2D", "ring mean"):
        panel.quantity.value = quantity
        computed = eval(f"s.{panel.call}", {"s": s})
        close(panel.image, computed.data.reshape(5, 7))
    # Between the steps: to the nearest edges, and the call says which.
    panel.quantity.value = "V2D"
    panel.k.value, panel.width.value = 3.217, 0.93
    assert panel.call == "variance_map(k=3.2, width=0.96, n_phi=24)"
    assert repr(panel) == "<RingPanel, variance_map(k=3.2, width=0.96, n_phi=24)>"


def test_descan_is_followed(make_scan):
    s = make_scan((6, 8))
    # Up to a pixel, over the 1.6 x 2.24 nm of the scan.
    s.set_descan(Descan(((1.0, 0.2), (-0.5, 0.4)), ((0.0, 1.6), (0.0, 2.24)), "nm"))
    close(mr.explore(s, n=2, **RING).image, s.angular_power_map(**RING, orders=(2,)).data[0])


def test_the_picture_follows(make_scan):
    panel = mr.explore(make_scan((5, 7)), **RING)
    pictures = [bytes(panel._picture.value)]
    assert pictures[0].startswith(b"\x89PNG")
    for control, value in ((panel.n, 9), (panel.k, 2.4), (panel.width, 0.32), (panel.quantity, "V2D")):
        control.value = value
        assert bytes(panel._picture.value) not in pictures
        pictures.append(bytes(panel._picture.value))
        np.testing.assert_array_equal(panel._shown.get_array(), panel.image)
    assert panel.n.disabled
    assert panel._shown.get_extent() == pytest.approx((-0.16, 6.5 * 0.32, 4.5 * 0.32, -0.16))
    assert "application/vnd.jupyter.widget-view+json" in panel._repr_mimebundle_()


def test_sliders_keep_the_ring_inside(make_scan):
    panel = mr.explore(make_scan((3, 4)), **RING)
    panel.k.value = panel.k.min
    assert panel.width.value == pytest.approx(2 * panel.k.min)
    panel.k.value = panel.k.max
    panel.width.value = panel.width.max
    assert panel.cube.ring(panel.k.value, panel.width.value)[1] == pytest.approx(2 * panel.k.min)
    assert np.isfinite(panel.image).all()


def test_without_a_ring_given(make_scan):
    panel = mr.explore(make_scan((3, 4)))
    assert panel.k.value == pytest.approx(panel.cube.grid.k_max / 2, abs=0.08)
    assert panel.width.value == pytest.approx(4 * 0.16)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_large_scan_is_thinned(make_scan, lazy):
    s = make_scan((5, 8), lazy=lazy)
    whole = ring_cube(s)
    assert whole.every == 1
    # Of 5 x 8 positions 2 x 3 are left where each third is taken, 3 x 4 where each second is.
    panel = mr.explore(s, n=4, memory_limit=whole.means.nbytes // 40 * 11, **RING)
    assert panel.cube.every == 3
    close(panel.image, make_scan((5, 8)).angular_power_map(**RING, orders=(4,)).data[0, ::3, ::3])
    assert "Every third line" in panel._text.value
    assert panel.cube.axes[1]["scale"] == pytest.approx(3 * 0.32)
    assert "2 x 3 positions" in repr(panel.cube)


def test_refused(make_scan, monkeypatch):
    s = make_scan((3, 4))
    with pytest.raises(ValueError, match=r"k = 9 1/nm, width 0\.96, is not within 0 \.\. "):
        mr.explore(s, k=9, width=0.96)
    with pytest.raises(ValueError, match=r"or narrower than 0\.08"):
        mr.explore(s, k=3.2, width=0.0)
    with pytest.raises(ValueError, match="order 30 is not within"):
        mr.explore(s, n=30)
    with pytest.raises(ValueError, match="one of P_n, V2D, ring mean"):
        ring_cube(s).image("P", 3.2, 0.96)
    with pytest.raises(ValueError, match="memory_limit is 100 bytes"):
        mr.explore(s, memory_limit=100)
    with pytest.raises(ValueError, match="two-dimensional scan"):
        mr.explore(s.inav[0])
    # What Python does where a package is not there.
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r'pip install "medrange\[gui\]"'):
        mr.explore(SimpleNamespace())
