"""Blocks of frames: chunk rule, lazy against eager, graphs that travel, files that stay as they are."""

import hashlib
import os
import pickle

import dask
import dask.array as da
import h5py
import numpy as np
import pytest

from medrange.io import read
from medrange.io.frames import ReadOptions, ScanLayout, fit_scan, scan_chunks

MIB = 2**20


def random_stack(frames, shape=(6, 5), dtype="uint16", seed=0):
    return np.random.default_rng(seed).integers(0, 200, (frames, *shape)).astype(dtype)


@pytest.fixture(params=["npy", "npy_big_endian", "h5", "raw"])
def stack_file(request, tmp_path):
    """A stack of 42 frames in several formats, and the array that must come out of it."""
    if request.param == "raw":
        records = np.random.default_rng(1).normal(size=(42, 130, 128)).astype("<f4")
        path = tmp_path / "a.raw"
        records.tofile(path)
        return path, records[:, :128]
    data = random_stack(42)
    if request.param == "h5":
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("frames", data=data, chunks=(5, 6, 5), compression="gzip")
        return path, data
    path = tmp_path / "a.npy"
    np.save(path, data.astype(">u2") if request.param == "npy_big_endian" else data)
    return path, data


@pytest.mark.parametrize(
    ("rows", "columns", "pattern"),
    [(256, 256, 65536), (64, 32, 66560), (37, 41, 131072), (5, 700, 524288), (3, 5, 100 * MIB), (500, 3, 2 * MIB)],
)
def test_blocks_are_64_to_256_mb_of_whole_patterns(rows, columns, pattern):
    chunks = scan_chunks((rows, columns), pattern, 128 * MIB)
    assert [sum(c) for c in chunks] == [rows, columns]
    assert all(n > 0 for c in chunks for n in c)
    sizes = [i * j * pattern for i in chunks[0] for j in chunks[1]]
    assert max(sizes) <= 256 * MIB
    assert min(sizes) >= min(64 * MIB, rows * columns * pattern)


def test_block_rule_holds_for_any_scan():
    rng = np.random.default_rng(5)
    for _ in range(3000):
        rows, columns = rng.integers(1, 600, 2)
        pattern = int(rng.choice([16384, 66560, 131072, 262144, 529200, 4 * MIB]))
        chunks = scan_chunks((int(rows), int(columns)), pattern, 128 * MIB)
        sizes = [i * j * pattern for i in set(chunks[0]) for j in set(chunks[1])]
        assert max(sizes) <= 256 * MIB, (rows, columns, pattern)
        assert min(sizes) >= min(64 * MIB, int(rows * columns) * pattern), (rows, columns, pattern)
        assert [sum(c) for c in chunks] == [rows, columns]
        assert len(chunks[1]) == 1 or set(chunks[0]) == {1}


def test_pattern_larger_than_a_block_stays_whole():
    assert scan_chunks((2, 3), 1000 * MIB, 128 * MIB) == ((1, 1), (1, 1, 1))
    assert scan_chunks((4,), 1000 * MIB, 128 * MIB) == ((1, 1, 1, 1),)


def test_blocks_are_cut_between_stored_chunks():
    chunks = scan_chunks((30, 10), 1000, 100_000, stored_lines=8)
    assert chunks == ((16, 8, 6), (10,))
    assert scan_chunks((64, 10), 1000, 100_000, stored_lines=8) == ((16, 16, 8, 8, 8, 8), (10,))
    # A stored chunk that is larger than a block cannot be respected.
    assert scan_chunks((30, 10), 1000, 10_000, stored_lines=8)[0] == (1,) * 30


def test_large_file_is_opened_lazily_in_blocks(tmp_path):
    path = tmp_path / "scan_x160_y150.raw"
    with path.open("wb") as file:
        file.truncate(160 * 150 * 66560)
        file.seek((150 * 160 - 1) * 66560)
        file.write(np.full(3, 7, "<f4").tobytes())
    data = read(path, lazy=True)["data"]
    assert data.shape == (150, 160, 128, 128)
    assert data.chunks[1:] == ((160,), (128,), (128,))
    sizes = [n * 160 * 128 * 128 * 4 for n in data.chunks[0]]
    assert min(sizes) >= 64 * MIB
    assert max(sizes) <= 256 * MIB
    np.testing.assert_array_equal(data[-1, -1, 0, :4].compute(), [7, 7, 7, 0])


def test_lazy_equals_eager_for_any_block_size(stack_file):
    path, stack = stack_file
    expected = stack.reshape(6, 7, *stack.shape[1:])
    for block_bytes in (1, 3 * expected[0].nbytes, 10**9):
        options = {"scan_shape": (6, 7), "block_bytes": block_bytes}
        eager, lazy = read(path, **options)["data"], read(path, lazy=True, **options)["data"]
        assert isinstance(eager, np.ndarray)
        assert isinstance(lazy, da.Array)
        assert lazy.chunks[2:] == ((stack.shape[1],), (stack.shape[2],))
        np.testing.assert_array_equal(eager, expected)
        np.testing.assert_array_equal(lazy.compute(), expected)
        np.testing.assert_array_equal(lazy[2:4, 5, ::-1].compute(), expected[2:4, 5, ::-1])
        assert eager.dtype == lazy.dtype == expected.dtype
        assert eager.dtype.isnative
        assert lazy.compute().dtype.isnative
        assert eager.flags.c_contiguous
        assert eager.flags.writeable


@pytest.mark.parametrize("lazy", [False, True])
def test_flyback_and_sync_offset(stack_file, lazy):
    path, stack = stack_file
    options = {"lazy": lazy, "scan_shape": (4, 7), "flyback": 3, "sync_offset": 2, "block_bytes": 1}
    data = np.asarray(read(path, **options)["data"])
    expected = stack[2:42].reshape(4, 10, *stack.shape[1:])[:, :7]
    np.testing.assert_array_equal(data, expected)


def test_last_flyback_may_be_missing(stack_file):
    path, stack = stack_file
    data = read(path, scan_shape=(4, 9), flyback=2)["data"]
    np.testing.assert_array_equal(data[3], stack[33:42])


def test_series_of_frames(stack_file):
    path, stack = stack_file
    for lazy in (False, True):
        dictionary = read(path, scan_shape=(42,), lazy=lazy, block_bytes=1)
        np.testing.assert_array_equal(np.asarray(dictionary["data"]), stack)
        assert [axis["name"] for axis in dictionary["axes"]] == ["frame", "ky", "kx"]
        assert [axis["navigate"] for axis in dictionary["axes"]] == [True, False, False]


def test_names_follow_from_file_and_parameters(stack_file):
    path, _ = stack_file

    def name(**options):
        return read(path, lazy=True, **{"scan_shape": (6, 7), **options})["data"].name

    assert name() == name()
    assert len({name(), name(block_bytes=1), name(scan_shape=(7, 6)), name(scan_shape=(42,))}) == 4
    before = name()
    os.utime(path, ns=(1, 1))
    assert name() != before


def test_graph_travels_without_the_data(stack_file):
    path, stack = stack_file
    data = read(path, lazy=True, scan_shape=(6, 7), block_bytes=1)["data"]
    sent = pickle.dumps(data)
    assert len(sent) < 20_000
    np.testing.assert_array_equal(pickle.loads(sent).compute(), stack.reshape(data.shape))
    with dask.config.set(scheduler="processes", num_workers=1):
        assert data.astype(float).sum().compute() == pytest.approx(stack.astype(float).sum(), rel=1e-12)


def test_file_is_only_read(stack_file):
    path, _ = stack_file
    before = hashlib.sha256(path.read_bytes()).digest()
    path.chmod(0o444)
    eager = read(path, scan_shape=(6, 7))["data"]
    eager[:] = 0
    block = read(path, lazy=True, scan_shape=(6, 7))["data"].compute()
    block[:] = 0
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert read(path, scan_shape=(6, 7))["data"].any()


def test_fit_scan_keeps_whole_lines():
    layout, note = fit_scan(25, (5, 6), ReadOptions())
    assert layout == ScanLayout((4, 6), 0, 6)
    assert "25" in note
    assert "4 x 6" in note
    assert "1 frames" in note
    layout, note = fit_scan(30, (5, 6), ReadOptions())
    assert note is None
    assert layout.used == 30


def test_fit_scan_reports_frames_after_the_scan():
    layout, note = fit_scan(40, (5, 6), ReadOptions())
    assert layout.shape == (5, 6)
    assert "30 of 40" in note
    assert "10 frames after" in note
    assert "flyback=2" in note
    assert "flyback" not in fit_scan(41, (5, 6), ReadOptions())[1]


def test_fit_scan_refuses_when_asked():
    with pytest.raises(ValueError, match=r"needs 30 frames, the file has 25.*scan_shape=\(4, 6\)"):
        fit_scan(25, (5, 6), ReadOptions(), short="error")
    with pytest.raises(ValueError, match="not one whole line of 30"):
        fit_scan(25, (5, 30), ReadOptions())
    with pytest.raises(ValueError, match="sync_offset=25"):
        fit_scan(25, (5, 5), ReadOptions(sync_offset=25))
    with pytest.raises(ValueError, match="flyback=1 needs scan lines"):
        fit_scan(25, (25,), ReadOptions(flyback=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scan_shape": (0, 4)}, r"scan_shape is \(0, 4\)"),
        ({"scan_shape": (2.5, 4)}, "positive integers"),
        ({"scan_shape": (2, 3, 4)}, r"\(rows, columns\)"),
        ({"scan_shape": "4x4"}, "positive integers"),
        ({"flyback": -1}, "flyback is -1"),
        ({"flyback": 1.0}, "flyback is 1.0"),
        ({"block_bytes": 0}, "block_bytes is 0"),
        ({"sync_offset": -2}, r"sync_offset is -2.*columns - missing"),
        ({"sync_offset": True}, "sync_offset is True"),
    ],
)
def test_bad_keywords(options, message):
    with pytest.raises(ValueError, match=message):
        ReadOptions(**options)


def test_numpy_integers_are_integers():
    assert ReadOptions(scan_shape=np.array([3, 4]), flyback=np.int64(1)).scan_shape == (3, 4)


def test_files_are_mapped_a_few_lines_at_a_time(tmp_path, monkeypatch):
    stack = random_stack(53)
    np.save(tmp_path / "a.npy", stack)
    expected = stack[2:52].reshape(5, 10, 6, 5)[:, :8]
    # One line, two lines, and everything at once.
    for limit in (1, 2 * 10 * 60, 10**9):
        monkeypatch.setattr("medrange.io.frames._MAPPED_BYTES", limit)
        with pytest.warns(UserWarning, match="1 frames after"):
            data = read(tmp_path / "a.npy", scan_shape=(5, 8), flyback=2, sync_offset=2)["data"]
        np.testing.assert_array_equal(data, expected)
