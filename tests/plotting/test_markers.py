import hyperspy.api as hs
import numpy as np
import pytest

import medrange as mr
from medrange.plotting import add_hotspot_markers, hotspot_markers


@pytest.fixture
def maps():
    """Squares of known place and size in maps n = 2, 4, 8; none in the second."""
    data = np.zeros((3, 30, 40))
    data[0, 4:8, 10:14] = 1
    data[0, 20, 30] = 1
    data[2, 10:13, 5:8] = 1
    return mr.OrderMap.from_array(data, scale=0.5, orders=(2, 4, 8), offset=(1.0, 2.0))


def test_places_and_sizes(maps):
    markers = hotspot_markers(maps.hotspots(0.5), maps)
    offsets, sizes = markers.kwargs["offsets"], markers.kwargs["sizes"]
    assert [len(own) for own in offsets] == [2, 0, 1]
    # Middle of rows 4 .. 7 and columns 10 .. 13 of pixels of 0.5 nm that begin at (1, 2) nm.
    assert offsets[0][0] == pytest.approx([2 + 11.5 * 0.5, 1 + 5.5 * 0.5])
    assert offsets[2][0] == pytest.approx([2 + 6 * 0.5, 1 + 11 * 0.5])
    assert np.pi / 4 * sizes[0] ** 2 == pytest.approx([16 * 0.25, 0.25])
    assert np.pi / 4 * sizes[2] ** 2 == pytest.approx([9 * 0.25])


def test_drawn_where_the_hotspots_are(maps):
    markers = add_hotspot_markers(maps, maps.hotspots(0.5))
    maps.plot()
    figure = maps._plot.signal_plot.figure
    figure.canvas.draw()
    axes = maps._plot.signal_plot.ax
    collection = markers._collection
    assert collection in axes.collections
    # The circle as drawn, in pixels of the canvas, against its place in data units.
    (transform,) = [t for i, t in enumerate(collection.get_transforms()) if i == 0]
    radius = transform[0, 0]
    unit = np.diff(axes.transData.transform([(0, 0), (1, 0)]), axis=0)[0, 0]
    assert 2 * radius / unit == pytest.approx(np.sqrt(16 * 0.25 * 4 / np.pi))
    np.testing.assert_allclose(collection.get_offsets()[0], [7.75, 3.75])
    maps.axes_manager.indices = (2,)
    np.testing.assert_allclose(markers._collection.get_offsets(), [[5.0, 6.5]])
    maps.axes_manager.indices = (1,)
    assert len(markers._collection.get_offsets()) == 0


@pytest.mark.parametrize("ending", ["hspy", "zspy"])
@pytest.mark.parametrize("plotted", [False, True])
def test_saved_with_the_map(maps, tmp_path, ending, plotted):
    markers = add_hotspot_markers(maps, maps.hotspots(0.5))
    if plotted:
        maps.plot()
    maps.save(tmp_path / f"maps.{ending}")
    again = hs.load(tmp_path / f"maps.{ending}")
    assert type(again) is mr.OrderMap
    kept = again.metadata.Markers.hotspots
    for name in ("offsets", "sizes"):
        for i in range(3):
            np.testing.assert_allclose(kept.kwargs[name][i], markers.kwargs[name][i])
    again.plot()
    np.testing.assert_allclose(kept._collection.get_offsets(), markers.kwargs["offsets"][0])


@pytest.mark.filterwarnings("ignore:1 of 3 maps have no positive mean")
def test_over_one_map(maps, tmp_path):
    found = maps.hotspots(0.5, include_sum=True)
    one = maps.inav[0]
    assert len(hotspot_markers(found, one, n=2).kwargs["offsets"]) == 2
    # The sum is there and taken by default.
    assert len(hotspot_markers(found, one).kwargs["offsets"]) == int(found.summary["count"].iloc[-1])
    one.plot()
    markers = add_hotspot_markers(one, found, n=8)
    assert len(markers._collection.get_offsets()) == 1
    one.save(tmp_path / "one.hspy")
    kept = hs.load(tmp_path / "one.hspy").metadata.Markers.hotspots
    np.testing.assert_allclose(kept.kwargs["offsets"], [[5.0, 6.5]])


def test_in_the_units_of_the_map(maps):
    found = maps.hotspots(0.5)
    maps.axes_manager.convert_units(axes="signal", units="angstrom")
    markers = hotspot_markers(found, maps)
    assert markers.kwargs["offsets"][2][0] == pytest.approx([50.0, 65.0])
    assert np.pi / 4 * markers.kwargs["sizes"][2] ** 2 == pytest.approx([900 * 0.25])


def test_refused(maps):
    found = maps.hotspots(0.5)
    with pytest.raises(ValueError, match="n is 2, but every map"):
        hotspot_markers(found, maps, n=2)
    with pytest.raises(ValueError, match="no hotspots were looked for in the map n = 6"):
        hotspot_markers(found, maps.inav[0], n=6)
    maps.axes_manager.signal_axes[0].units = "px"
    with pytest.raises(ValueError, match="need one length unit"):
        hotspot_markers(found, maps)
