import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medrange.geometry import DiffractionGeometry, PolarGrid
from medrange.kernels.polar import polar_operator
from medrange.kernels.rings import polar_means

centers = st.tuples(st.floats(20, 43), st.floats(20, 43))


@settings(max_examples=30, deadline=None)
@given(center=centers, n_phi=st.sampled_from([1, 3, 4, 36, 37]), n_k=st.integers(1, 9))
def test_areas_of_bins_are_those_of_annular_sectors(center, n_phi, n_k):
    grid = PolarGrid(0.3, 1.9, n_k, n_phi)
    operator = polar_operator(DiffractionGeometry((64, 64), center, 0.1, "1/nm"), grid)
    edges = np.linspace(3, 19, n_k + 1)
    exact = np.pi * np.diff(edges**2) / n_phi
    assert operator.area == pytest.approx(np.repeat(exact[:, None], n_phi, axis=1), rel=1e-9)


@pytest.mark.parametrize("center", [(31.5, 31.5), (31.5, 32.0), (32.0, 32.0), (31.3, 32.4), (31.25, 31.75)])
@pytest.mark.parametrize("n_phi", [1, 3, 12, 36, 72, 180, 360])
@pytest.mark.parametrize("step", [0.5, 1.0])
def test_areas_where_pixel_corners_lie_on_ring_edges(center, n_phi, step):
    # Rings of whole and half pixels: corners fall on circles and on rays, where rounding decides on which side.
    edges = np.arange(2, 24 + step / 2, step)
    grid = PolarGrid(0.1 * edges[0], 0.1 * edges[-1], len(edges) - 1, n_phi)
    operator = polar_operator(DiffractionGeometry((64, 64), center, 0.1, "1/nm"), grid)
    exact = np.pi * np.diff(edges**2) / n_phi
    assert operator.area == pytest.approx(np.repeat(exact[:, None], n_phi, axis=1), rel=1e-7)


@settings(max_examples=20, deadline=None)
@given(ratio=st.floats(0.9, 1.1), angle=st.floats(0, np.pi))
def test_areas_under_an_ellipse_are_those_of_elliptic_rings(ratio, angle):
    geometry = DiffractionGeometry((64, 64), (31.7, 30.2), 0.1, "1/nm", ellipse=(ratio, angle))
    operator = polar_operator(geometry, PolarGrid(0.5, 2.0, 3, 24))
    edges = np.linspace(5, 20, 4)
    assert operator.area.sum(axis=1) == pytest.approx(np.pi * np.diff(edges**2) * ratio, rel=1e-9)


def test_operator_equals_dense_supersampling():
    geometry = DiffractionGeometry((24, 24), (11.3, 12.1), 0.1, "1/nm")
    grid = PolarGrid(0.2, 1.0, 4, 12)
    fine = 64
    place = (np.arange(24 * fine) + 0.5) / fine - 0.5
    y, x = np.meshgrid(place - 11.3, place - 12.1, indexing="ij")
    i_k = np.floor((np.hypot(x, y) * 0.1 - 0.2) / 0.2).astype(int)
    i_phi = np.floor(np.arctan2(y, x) % (2 * np.pi) / (2 * np.pi / 12)).astype(int)
    inside = (i_k >= 0) & (i_k < 4)
    pixel = np.kron(np.arange(24 * 24).reshape(24, 24), np.ones((fine, fine), int))
    dense = np.zeros((48, 24 * 24))
    np.add.at(dense, ((i_k * 12 + i_phi)[inside], pixel[inside]), 1 / fine**2)
    operator = polar_operator(geometry, grid)
    exact = np.zeros_like(dense)
    for b in range(48):
        part = slice(operator.indptr[b], operator.indptr[b + 1])
        exact[b, operator.pixels[operator.columns[part]]] = operator.weights[part] * operator.area.ravel()[b]
    assert np.abs(exact - dense).max() < 0.015
    assert np.abs(exact - dense).mean() < 1e-4


def test_bins_turn_from_kx_towards_ky():
    frame = np.zeros((1, 32, 32))
    frame[0, 20, 16] = 1.0  # straight below the center: +ky
    means = polar_means(frame, DiffractionGeometry((32, 32), (16, 16), 0.1, "1/nm"), PolarGrid.band(0.4, 0.2, 4))
    assert means[0, 0, [0, 1]].min() > 0
    assert means[0, 0, [2, 3]].max() == 0


@settings(max_examples=20, deadline=None)
@given(center=centers, value=st.floats(0.1, 1e4))
def test_uniform_frame_is_uniform_for_any_center(center, value):
    geometry = DiffractionGeometry((64, 64), center, 0.1, "1/nm")
    means = polar_means(np.full((1, 64, 64), value), geometry, PolarGrid(0.0, 2.0, 10, 36))
    assert means == pytest.approx(np.full(means.shape, value), rel=1e-12)


def test_masked_pixels_count_nowhere_and_empty_bins_are_nan():
    mask = np.zeros((32, 32), bool)
    mask[:, :16] = True
    frame = np.where(mask, 1e9, 3.0)[None]
    geometry = DiffractionGeometry((32, 32), (15.5, 15.5), 0.1, "1/nm", mask=mask)
    means = polar_means(frame, geometry, PolarGrid(0.2, 1.2, 2, 36))[0]
    shut = np.isnan(means)
    assert shut[:, 9:27].all()
    assert not shut[:, :9].any()
    assert not shut[:, 27:].any()
    assert means[~shut] == pytest.approx(3.0)


def test_bins_beyond_the_detector_are_nan():
    means = polar_means(
        np.ones((1, 16, 16)), DiffractionGeometry((16, 16), (7.5, 7.5), 0.1, "1/nm"), PolarGrid(1.2, 1.4, 1, 8)
    )
    assert np.isnan(means).all()


def test_operator_is_built_once():
    arguments = ((32, 32), (15.5, 15.5), 0.1, "1/nm")
    grid = PolarGrid.band(1.0, 0.2, 36)
    assert polar_operator(DiffractionGeometry(*arguments), grid) is polar_operator(
        DiffractionGeometry(*arguments), grid
    )


def test_repr_tells_the_main_figures():
    grid = PolarGrid.band(1.0, 0.2, 36)
    assert "1 k x 36 phi bins" in repr(polar_operator(DiffractionGeometry((32, 32), (15.5, 15.5), 0.1, "1/nm"), grid))
