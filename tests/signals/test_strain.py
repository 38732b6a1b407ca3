import hyperspy.api as hs
import numpy as np
import pytest

import medrange as mr

CENTER, STEP, RADIUS = (63.6, 64.2), 0.16, 25.0
RING = {"k": RADIUS * STEP, "width": 2.0}


def field(shape):
    """Smooth strain maps of 0.5 %, mean zero: (y, x, 3)."""
    y, x = (2 * np.pi * index / size for index, size in zip(np.indices(shape), shape, strict=True))
    return 0.005 * np.stack([np.sin(x), np.cos(y + x), np.sin(y)], axis=-1)


def strained_scan(shape=(8, 10), *, electrons=None, offset=0.0, dtype=np.uint16):
    """Ring of a strained glass; ``electrons`` is their number in the annulus of each pattern."""
    strain = field(shape) + offset
    rows, cols = np.indices((128, 128))
    offsets = np.stack([cols - CENTER[1], rows - CENTER[0]]).reshape(2, -1)
    frames = np.empty((*shape, 128, 128))
    for index in np.ndindex(shape):
        exx, eyy, exy = strain[index]
        radius = np.hypot(*np.linalg.solve([[1 - exx, -exy], [-exy, 1 - eyy]], offsets)).reshape(128, 128)
        frames[index] = np.exp(-0.5 * ((radius - RADIUS) / 2.5) ** 2) + 0.3 * np.exp(-radius / 20) + 0.02
    if electrons is not None:
        inside = np.abs(np.hypot(*offsets).reshape(128, 128) - RADIUS) < RING["width"] / STEP / 2
        frames = np.random.default_rng(0).poisson(frames * electrons / frames[0, 0][inside].sum()).astype(dtype)
    signal = mr.Nanodiffraction(frames)
    signal.calibrate(scan_step=0.8, k_step=STEP)
    signal.set_center(CENTER)
    return signal, strain


def stacked(result):
    return np.stack([signal.data for signal in result.signals.values()], axis=-1)


def test_strain_field_of_half_a_percent_to_five_hundredths():
    # 400 000 electrons in the annulus per pattern: 0.25 % sqrt(1e4 / 4e5) = 0.04 %.
    signal, strain = strained_scan((16, 20), electrons=4e5)
    result = signal.ring_strain(**RING)
    rms = np.sqrt(((stacked(result) - strain) ** 2).mean(axis=(0, 1)))
    assert (rms < 5e-4).all()
    for name, truth in zip(("exx", "eyy", "exy"), np.moveaxis(strain, -1, 0), strict=True):
        assert np.corrcoef(getattr(result, name).data.ravel(), truth.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("reference", [None, RING["k"]])
@pytest.mark.parametrize("chunks", [(8, 10), (3, 4), (1, 10)])
def test_lazy_equals_eager(chunks, reference):
    signal, _ = strained_scan(electrons=1e4)
    eager = signal.ring_strain(**RING, reference=reference)
    lazy_signal = signal.as_lazy()
    lazy_signal.data = lazy_signal.data.rechunk((*chunks, -1, -1))
    lazy = lazy_signal.ring_strain(**RING, reference=reference)
    assert "lazy, call compute()" in repr(lazy)
    lazy.compute()
    assert type(lazy.exx) is hs.signals.Signal2D
    assert stacked(lazy) == pytest.approx(stacked(eager), abs=1e-9)
    assert lazy.exx.axes_manager.signal_shape == (10, 8)


def test_reference_gives_absolute_strain():
    signal, strain = strained_scan((2, 3), offset=np.array([0.004, 0.002, 0.001]))
    assert stacked(signal.ring_strain(**RING, reference=RING["k"])) == pytest.approx(strain, abs=4e-4)


def test_the_ellipse_of_the_lens_is_undone_before():
    signal, _ = strained_scan((2, 3))
    plain = signal.ring_strain(**RING, reference=RING["k"])
    signal.set_ellipse((0.99, 0.0))
    turned = signal.ring_strain(**RING, reference=RING["k"])
    # Lengths along y grow by 1 %: the ring is wider there, the material seems pressed.
    assert turned.eyy.data - plain.eyy.data == pytest.approx(-0.0101, abs=5e-4)
    assert turned.exx.data == pytest.approx(plain.exx.data, abs=5e-4)


def test_maps_carry_axes_units_and_provenance():
    signal, _ = strained_scan((3, 4))
    before, metadata = signal.data.copy(), str(signal.metadata)
    result = signal.ring_strain(**RING)
    assert (signal.data == before).all()
    assert str(signal.metadata) == metadata
    for name, image in result.signals.items():
        assert image.metadata.Signal.quantity == f"strain {name}"
        assert image.metadata.General.title == f"strain {name}"
        assert [(a.name, a.scale, a.units) for a in image.axes_manager.signal_axes] == [
            ("x", 0.8, "nm"),
            ("y", 0.8, "nm"),
        ]
        assert image.metadata.Medrange.Provenance.operation == "ring_strain"
        assert image.metadata.Medrange.Provenance.parameters["n_phi"] == 36
    assert repr(result).startswith("RingStrain(3 x 4 positions, ring k = 4 1/nm; standard deviation exx 0.")


@pytest.mark.parametrize(("name", "files"), [("strain", ".zspy"), ("strain.hspy", ".hspy")])
def test_maps_are_saved_beside_each_other(tmp_path, name, files):
    result = strained_scan((3, 4))[0].ring_strain(**RING)
    targets = result.save(tmp_path / "new" / name)
    assert [path.name for path in targets] == [f"strain_{c}{files}" for c in ("exx", "eyy", "exy")]
    assert (hs.load(targets[1]).data == result.eyy.data).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": 0.0}, "reference is 0.0; give the radius k of the unstrained ring"),
        ({"n_phi": 6}, "n_phi is 6; at least 12"),
        ({"width": -1.0}, "width is -1.0"),
        ({"k": 12.0}, r"only \d+ of 36 azimuths"),
    ],
)
def test_errors_name_the_value(change, message):
    with pytest.raises(ValueError, match=message):
        strained_scan((2, 2))[0].ring_strain(**(RING | change))


def test_a_line_scan_is_refused():
    with pytest.raises(ValueError, match="a map needs a two-dimensional scan"):
        strained_scan((2, 3))[0].inav[:, 0].ring_strain(**RING)


def test_plot_draws_the_three_maps():
    from matplotlib import pyplot as plt

    axes = strained_scan((3, 4))[0].ring_strain(**RING).plot(limit=1.0)
    assert [ax.images[0].get_clim() for ax in axes] == [(-1.0, 1.0)] * 3
    plt.close("all")
