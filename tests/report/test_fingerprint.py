import hashlib

import pytest

from medrange.report import fingerprint as module
from medrange.report.fingerprint import fingerprint


def test_small_file_is_hashed_whole(tmp_path):
    path = tmp_path / "scan.raw"
    path.write_bytes(b"abc" * 1000)
    print_ = fingerprint(path)
    assert print_.sha256 == hashlib.sha256(b"abc" * 1000).hexdigest()
    assert (print_.size, print_.hashed, print_.path) == (3000, "whole file", path)


def test_large_file_is_hashed_at_its_ends_with_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WHOLE_BELOW", 100)
    monkeypatch.setattr(module, "_END", 10)
    content = bytes(range(200))
    path = tmp_path / "scan.raw"
    path.write_bytes(content)
    print_ = fingerprint(path)
    assert print_.sha256 == hashlib.sha256(content[:10] + content[-10:] + b"200").hexdigest()
    assert print_.hashed == "first and last MiB, and the size"


def test_change_of_the_size_or_an_end_of_a_large_file_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WHOLE_BELOW", 100)
    monkeypatch.setattr(module, "_END", 10)
    path = tmp_path / "scan.raw"
    prints = set()
    for content in (b"a" * 200, b"a" * 201, b"a" * 199 + b"b", b"b" + b"a" * 199):
        path.write_bytes(content)
        prints.add(fingerprint(path).sha256)
    assert len(prints) == 4


def test_folder_is_hashed_by_names_and_sizes(tmp_path):
    store = tmp_path / "scan.zspy"
    (store / "data").mkdir(parents=True)
    (store / "data" / "0.0").write_bytes(b"12345")
    (store / ".zgroup").write_bytes(b"{}")
    print_ = fingerprint(store)
    assert (print_.size, print_.hashed) == (7, "names and sizes of 2 files")
    assert print_.sha256 == hashlib.sha256(b".zgroup\x002\ndata/0.0\x005\n").hexdigest()


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.raw does not exist"):
        fingerprint(tmp_path / "nothing.raw")
