"""Conversion into a store: nothing is lost, and an interrupted run ends as an uninterrupted one."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import hyperspy.api as hs
import numpy as np
import pytest
import zarr

import medrange as mr
from medrange.io import convert, read


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", ["empad", "merlin"])
@pytest.mark.parametrize("codec", ["zstd", "lz4", "none"])
def test_nothing_is_lost(tmp_path, kind, codec):
    source = mr.datasets.sample_scan(kind)
    written = convert(source, tmp_path / "scan.zspy", chunks=(3, 4), codec=codec)
    original, copied = mr.load(source), mr.load(written.path, lazy=True)
    assert type(copied) is mr.LazyNanodiffraction
    assert copied.data.dtype == original.data.dtype
    np.testing.assert_array_equal(copied.data.compute(), original.data)
    for name in ("scale", "offset", "units", "name", "navigate"):
        assert [getattr(a, name) for a in copied.axes_manager._axes] == [
            getattr(a, name) for a in original.axes_manager._axes
        ]
    assert copied.metadata.Medrange.as_dictionary() == original.metadata.Medrange.as_dictionary()
    assert copied.original_metadata.as_dictionary().keys() == original.original_metadata.as_dictionary().keys()
    assert hs.load(written.path, lazy=True).data.chunksize == written.chunks
    assert not list(tmp_path.glob("*.partial*"))
    assert codec in repr(written)


def test_zarr_folder_has_the_same_layout(tmp_path):
    source = mr.datasets.sample_scan("empad")
    written = convert(source, tmp_path / "scan.zarr")
    np.testing.assert_array_equal(read(written.path)["data"], read(source)["data"])


# Ends the process, as a kill does, after some chunks.
KILLED = """
import os, signal, sys
from medrange.io import convert
def stop(done, total):
    if done == 5:
        os.kill(os.getpid(), signal.SIGKILL)
convert(sys.argv[1], sys.argv[2], chunks=(2, 3), report=stop)
"""


def test_killed_and_resumed_gives_the_same_files(tmp_path):
    source = str(mr.datasets.sample_scan("empad"))
    target = tmp_path / "killed" / "scan.zspy"
    child = subprocess.run([sys.executable, "-c", KILLED, source, str(target)], check=False)
    assert child.returncode == -signal.SIGKILL
    assert not target.exists()
    assert target.with_name("scan.zspy.partial").exists()
    resumed = convert(source, target, chunks=(2, 3))
    whole = convert(source, tmp_path / "whole" / "scan.zspy", chunks=(2, 3))
    assert resumed.resumed == 5
    assert whole.resumed == 0
    assert resumed.checksum == whole.checksum
    assert resumed.stored_bytes == whole.stored_bytes
    assert files_of(target) == files_of(whole.path)
    assert not list(target.parent.glob("*.partial*"))


def test_half_written_line_of_the_journal_is_done_again(tmp_path):
    source, target = mr.datasets.sample_scan("empad"), tmp_path / "scan.zspy"
    whole = convert(source, tmp_path / "whole.zspy", chunks=(4, 14))
    # As if the kill had come while the last line was written, and one chunk had not reached the disk.
    whole.path.rename(target.with_name("scan.zspy.partial"))
    partial = target.with_name("scan.zspy.partial")
    status = Path(source).stat()
    identity = {
        "source": str(Path(source).resolve()),
        "source_bytes": status.st_size,
        "source_changed_ns": status.st_mtime_ns,
        "shape": [11, 14, 128, 128],
        "dtype": "<f4",
        "chunks": [4, 14, 128, 128],
        "codec": "zstd",
        "medrange": mr.__version__,
    }
    array = zarr.open_group(str(partial), mode="r")["Experiments/scan/data"]
    crc = __import__("zlib").crc32(np.ascontiguousarray(array[:4]))
    lines = [json.dumps(identity), json.dumps({"chunk": 0, "crc32": crc}), '{"chunk": 1, "crc']
    target.with_name("scan.zspy.partial.journal").write_text("\n".join(lines))
    (partial / "Experiments/scan/data/1/0/0/0").unlink()
    resumed = convert(source, target, chunks=(4, 14))
    assert resumed.resumed == 1
    assert resumed.checksum == whole.checksum


def test_reports_every_chunk(tmp_path):
    seen = []
    convert(
        mr.datasets.sample_scan("merlin"),
        tmp_path / "a.zspy",
        chunks=(7, 3),
        report=lambda *counts: seen.append(counts),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_chunks_hold_whole_lines_where_they_fit(tmp_path):
    np.save(tmp_path / "scan.npy", np.zeros((6, 10, 8, 8), "uint16"))
    line = 10 * 8 * 8 * 2
    shapes = [
        convert(tmp_path / "scan.npy", tmp_path / f"{size}.zspy", chunk_bytes=size).chunks[:2]
        for size in (2 * line + 1, line, line // 2, 1)
    ]
    assert shapes == [(2, 10), (1, 10), (1, 5), (1, 1)]


def test_errors_say_what_to_do(tmp_path):
    source = mr.datasets.sample_scan("empad")
    with pytest.raises(ValueError, match=r"must end in \.zspy or \.zarr"):
        convert(source, tmp_path / "scan.h5")
    with pytest.raises(ValueError, match="codec is 'zip'; expected one of lz4"):
        convert(source, tmp_path / "scan.zspy", codec="zip")
    with pytest.raises(ValueError, match="give 2 positive numbers"):
        convert(source, tmp_path / "scan.zspy", chunks=(2, 2, 2))
    convert(source, tmp_path / "scan.zspy")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        convert(source, tmp_path / "scan.zspy")
    assert convert(source, tmp_path / "scan.zspy", overwrite=True, codec="lz4").codec == "lz4"


def test_other_settings_do_not_go_on_with_a_partial_store(tmp_path):
    source, target = mr.datasets.sample_scan("empad"), tmp_path / "scan.zspy"

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, target, chunks=(2, 3), report=interrupt)
    with pytest.raises(ValueError, match="begun with another chunks, codec"):
        convert(source, target, chunks=(4, 4), codec="lz4")
    assert convert(source, target, chunks=(4, 4), overwrite=True).resumed == 0


def test_calibration_of_a_py4dstem_file_survives(tmp_path):
    signal = mr.load(mr.datasets.sample_scan("empad"))
    signal.fit_center()
    signal.set_mask(np.indices((128, 128))[0] < 3)
    signal.set_ellipse((1.02, 0.3))
    mr.save_py4dstem(signal, tmp_path / "cube.h5")
    convert(tmp_path / "cube.h5", tmp_path / "scan.zspy")
    assert mr.load(tmp_path / "scan.zspy").geometry == signal.geometry
