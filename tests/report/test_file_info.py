import numpy as np
import pytest

from medrange.report.file_info import file_rows


def test_rows_tell_shape_size_and_what_is_missing(tmp_path):
    path = tmp_path / "scan.npy"
    np.save(path, np.zeros((3, 4, 16, 20), dtype="uint16"))
    rows, notes = file_rows(path)
    facts = dict(rows)
    assert facts["scan"] == "3 x 4"
    assert facts["detector"] == "16 x 20 px, uint16"
    assert facts["data"] == "7.68 kB"
    assert facts["k"] == "not in the file: give --k-step"
    assert facts["scan step"] == "not in the file: give --scan-step"
    assert notes == []


def test_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.npy"):
        file_rows(tmp_path / "nothing.npy")
