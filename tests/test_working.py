"""The rules of work outside dask."""

import os

import pytest

from medrange import working
from medrange.working import available_cores, progress_shown


def test_cores_are_those_of_the_process():
    assert 1 <= available_cores() <= os.cpu_count()


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8), ("", 8)]
)
def test_the_quota_of_a_container_counts(monkeypatch, tmp_path, text, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(working, "_QUOTA", tmp_path / "cpu.max")
    assert available_cores() == 8
    (tmp_path / "cpu.max").write_text(text)
    assert available_cores() == cores


def test_progress_bars_are_never_unasked_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")
    assert [progress_shown(asked) for asked in (None, True, False)] == [False, True, False]
    monkeypatch.delenv("CI")
    assert [progress_shown(asked) for asked in (None, True, False)] == [True, True, False]
