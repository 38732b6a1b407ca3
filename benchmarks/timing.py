"""Shared by the benchmarks: synthetic scans, and times as ratios to a baseline of the same process."""

import time

import numpy as np


def synthetic_scan(scan_shape, detector, dtype, seed=0):
    """Rings with speckle and Poisson noise, (y, x, ky, kx); 64 different patterns, repeated and rolled in dose."""
    rng = np.random.default_rng(seed)
    size = detector[0]
    y, x = np.indices(detector) - (size / 2 - 0.4)
    radius, phi = np.hypot(x, y) * 128 / size, np.arctan2(y, x)
    envelope = 20 * np.exp(-(((radius - 25) / 3) ** 2)) + 2 + 500 * np.exp(-((radius / 3) ** 2))
    base = []
    for _ in range(64):
        speckle = sum(rng.uniform(0, 0.2) * np.cos(n * (phi - rng.uniform(0, 2 * np.pi))) for n in (2, 4, 6, 10))
        base.append(rng.poisson(envelope * (1 + speckle)))
    base = np.array(base, dtype=dtype)
    data = np.empty((*scan_shape, *detector), dtype)
    flat = data.reshape(-1, *detector)
    for start in range(0, len(flat), 64):
        flat[start : start + 64] = base[: len(flat) - start]
    return data


def seconds(function, repeats=5):
    """Smallest CPU and wall time of several calls, after one that is not counted."""
    function()
    cpu, wall = [], []
    for _ in range(repeats):
        start = time.process_time(), time.perf_counter()
        function()
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    return min(cpu), min(wall)


def byte_sum(data):
    """Sum of the bytes read as 64-bit integers: what reading the array once costs, whatever its type."""
    return data.view(np.int64).sum()


def row(name, times, baselines):
    """One line: milliseconds, and the ratios to each baseline in CPU and wall time."""
    cells = [f"{name:<58}", f"{times[0] * 1e3:8.1f} {times[1] * 1e3:8.1f}"]
    cells += [f"{times[0] / cpu:7.2f} {times[1] / wall:7.2f}" for cpu, wall in baselines]
    return " | ".join(cells)


def header(title):
    """Head of the table."""
    return f"\n{title}\n{'':<58} |  CPU ms  wall ms | x np.sum: CPU, wall | x bytes: CPU, wall"
