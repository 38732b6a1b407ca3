import pickle

import numpy as np
import pytest

from medrange.aet.tomography import threads as module
from medrange.aet.tomography.threads import Threads


@pytest.mark.parametrize("workers", [1, 3])
def test_every_part_is_done_once(workers):
    done, threads = np.zeros(50, int), Threads(workers)

    def add(i):
        done[i] += 1

    for _ in range(3):
        threads.each(add, range(50))
    assert (done == 3).all()


def test_threads_are_kept_in_a_process_and_started_anew_in_another(monkeypatch):
    threads = Threads(2)
    threads.each(abs, range(4))
    first = threads._pool
    threads.each(abs, range(4))
    assert threads._pool is first
    monkeypatch.setattr(module.os, "getpid", lambda: -1)
    threads.each(abs, range(4))
    assert threads._pool is not first


def test_a_copy_starts_its_own():
    threads = Threads(2)
    threads.each(abs, range(4))
    copy = pickle.loads(pickle.dumps(threads))
    assert copy.workers == 2
    assert copy._pool is None


def test_an_error_reaches_the_caller_and_the_threads_live_on():
    threads = Threads(2)
    with pytest.raises(ZeroDivisionError):
        threads.each(lambda i: 1 / i, range(4))
    threads.each(abs, range(4))
