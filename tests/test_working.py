"""The rules of work outside dask."""

import os

from medrange.working import available_cores, progress_shown


def test_cores_are_those_of_the_process():
    assert 1 <= available_cores() <= os.cpu_count()


def test_progress_bars_are_never_unasked_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")
    assert [progress_shown(asked) for asked in (None, True, False)] == [False, True, False]
    monkeypatch.delenv("CI")
    assert [progress_shown(asked) for asked in (None, True, False)] == [True, True, False]
