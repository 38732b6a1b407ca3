"""HyperSpy's regions of interest on a scan: virtual images that follow them."""

import hyperspy.api as hs
import numpy as np
import pytest


def circle_mask(s, roi):
    """Pixels of a CircleROI. HyperSpy counts a pixel's place from its corner: the circle lies half a pixel off."""
    x, y = (axis.axis - 0.5001 * axis.scale for axis in s.axes_manager.signal_axes)
    radius = np.hypot(x - roi.cx, y[:, None] - roi.cy)
    return (radius <= roi.r) & (radius >= roi.r_inner)


def rectangle(s, roi):
    x, y = s.axes_manager.signal_axes
    rows = slice(y.value2index(roi.top), y.value2index(roi.bottom))
    return np.asarray(s.data)[..., rows, x.value2index(roi.left) : x.value2index(roi.right)].sum(axis=(2, 3))


def scan(make_scan, lazy):
    return make_scan((4, 5), lazy=lazy, chunks=(2, 3, 64, 64))


@pytest.mark.parametrize("lazy", [False, True])
def test_two_rectangles(make_scan, lazy):
    s = scan(make_scan, lazy)
    rois, images = hs.plot.plot_roi_map(s, 2)
    assert len(rois) == len(images) == 2
    for roi, image in zip(rois, images, strict=True):
        np.testing.assert_allclose(np.asarray(image.data), rectangle(s, roi))
        assert [axis.units for axis in image.axes_manager.signal_axes] == ["nm", "nm"]
    before = np.array(images[0].data)
    # Set in code as the mouse does it.
    rois[0].right += 1.6
    np.testing.assert_allclose(np.asarray(images[0].data), rectangle(s, rois[0]))
    assert (np.asarray(images[0].data) > before).all()


@pytest.mark.parametrize("lazy", [False, True])
def test_circle_and_ring(make_scan, lazy):
    s = scan(make_scan, lazy)
    data = np.asarray(s.data)
    roi = hs.roi.CircleROI(cx=3.2, cy=0.0, r=0.8, r_inner=0.0)
    _, (image,) = hs.plot.plot_roi_map(s, [roi])
    np.testing.assert_allclose(image.data, (data * circle_mask(s, roi)).sum(axis=(2, 3)))
    before = np.array(image.data)
    roi.cy = -1.6
    roi.r_inner = 0.4
    np.testing.assert_allclose(image.data, (data * circle_mask(s, roi)).sum(axis=(2, 3)))
    assert not np.allclose(image.data, before)


@pytest.mark.parametrize("lazy", [False, True])
def test_interactive(make_scan, lazy):
    s = scan(make_scan, lazy)
    s.plot()
    roi = hs.roi.CircleROI(cx=3.2, cy=0.0, r=0.8, r_inner=0.0)
    part = roi.interactive(s, axes=s.axes_manager.signal_axes)
    roi.cy = 1.6
    inside = np.asarray(s.data)[..., circle_mask(s, roi)]
    values = np.asarray(part.data)
    np.testing.assert_allclose(np.nansum(values, axis=(2, 3)), inside.sum(axis=-1))
    assert part._lazy == lazy


@pytest.mark.parametrize("lazy", [False, True])
def test_integrated_intensity(make_scan, lazy):
    s = scan(make_scan, lazy)
    roi = hs.roi.CircleROI(cx=3.2, cy=0.0, r=0.8, r_inner=0.0)
    image = s.get_integrated_intensity(roi)
    np.testing.assert_allclose(
        np.asarray(image.data), (np.asarray(s.data) * circle_mask(s, roi)).sum(axis=(2, 3)), rtol=1e-12
    )
    assert image._lazy == lazy
