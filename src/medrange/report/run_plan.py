"""What ``medrange maps`` and ``medrange pdf`` will read, hold in memory and take: ``--dry-run``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medrange.report.maps_checks import quality_step
from medrange.report.maps_run import MapsOptions, maps_call
from medrange.report.pdf_run import IN_MEMORY_BYTES, PdfOptions
from medrange.report.running import Tell
from medrange.report.scan_setup import ScanOptions, open_scan
from medrange.signals.plan import Plan, PlanStep, memory_advice, read_step

if TYPE_CHECKING:
    from medrange.signals.nanodiffraction import Nanodiffraction

# Patterns whose mean tells the center.
_CENTER_PATTERNS = 4096
# Passes over the rows that tell the quality.
_QUALITY_PASSES = 3
# Of S(k) and G(r) with what is made of them on the way; of a position in the search for types and their test.
_COPIES, _POSITION_BYTES = 4.0, 1500.0
# Measured with two threads.
_POSITION_SECONDS = 7e-5


def plan_maps(path: str | Path, options: MapsOptions, *, tell: Tell = lambda _: None) -> Plan:
    """Plan of a run of :func:`medrange.report.maps_run.write_maps`; nothing is written.

    Parameters
    ----------
    path, options, tell
        As of that function. The center is found, and a few chunks are read and mapped.

    Returns
    -------
    Plan
        The steps that read patterns, with the advice.

    Raises
    ------
    ValueError
        If the scan is not calibrated, or an option does not fit it.

    Examples
    --------
    >>> print(plan_maps("scan.xml", MapsOptions(k=4.0)))  # doctest: +SKIP
    """
    rest = "hotspots, their null where it is asked for, figures and the page follow; they do not read the scan."
    return _planned(path, options, lambda s: {"medium_range_order": maps_call(s, options)}, rest, tell, after=_quality)


def plan_pdf(path: str | Path, options: PdfOptions, *, tell: Tell = lambda _: None) -> Plan:
    """Plan of a run of :func:`medrange.report.pdf_run.write_pdf`; nothing is written.

    Parameters
    ----------
    path, options, tell
        As of that function. The center is found, and a few chunks are read.

    Returns
    -------
    Plan
        The steps that read patterns, with the advice.

    Raises
    ------
    ValueError
        If the scan is not calibrated, or an option does not fit it.

    Examples
    --------
    >>> print(plan_pdf("scan.hdr", PdfOptions("Fe80B20")))  # doctest: +SKIP
    """
    rest = "figures and the page follow; all but the first steps work on the profiles, and do not read the scan."
    after = partial(_of_profiles, r_max=options.r_max)
    return _planned(path, options, lambda _: {"radial_profile": {}}, rest, tell, after=after)


def _planned(
    path: str | Path,
    options: ScanOptions,
    methods: Callable[[Nanodiffraction], Mapping[str, Mapping[str, Any]]],
    rest: str,
    tell: Tell,
    *,
    after: Callable[[Nanodiffraction, PlanStep], PlanStep | None],
) -> Plan:
    start = time.perf_counter()
    scan = open_scan(path, options, tell=tell)
    spent = time.perf_counter() - start
    signal = scan.signal
    tell("measuring on a few chunks")
    made = signal.plan(methods(signal))
    (work,) = made.steps
    steps = [work]
    if any("fitted" in str(value) for value in scan.settings.values()):
        patterns = _center_patterns(signal)
        # A chunk in every thread, and room to let go of it.
        memory = 2.0 * made.n_threads * made.chunk_bytes
        steps.insert(0, read_step(signal, "center", patterns, peak_memory=memory, seconds=spent))
    if (following := after(signal, work)) is not None:
        steps.append(following)
    made = Plan(tuple(steps), made.n_chunks, made.chunk_bytes, made.n_threads, made.advice)
    told = [text for text in memory_advice(made) if text not in made.advice]
    return Plan(made.steps, made.n_chunks, made.chunk_bytes, made.n_threads, (*made.advice, *told, rest))


def _center_patterns(signal: Nanodiffraction) -> float:
    """Patterns in the chunks that are read for the center."""
    positions = float(np.prod(signal.data.shape[:-2]))
    if not signal._lazy:
        return min(positions, float(_CENTER_PATTERNS))
    per_chunk = positions / float(np.prod(signal.data.numblocks[:-2]))
    return min(positions, max(1, round(_CENTER_PATTERNS / per_chunk)) * per_chunk)


def _quality(signal: Nanodiffraction, work: PlanStep) -> PlanStep | None:
    """The pass over some rows of a scan in memory; of a lazy one they are taken in the pass of the maps."""
    if signal._lazy:
        return None
    rows, columns = signal.data.shape[:2]
    chosen = len(range(0, rows, quality_step(signal)))
    seconds = work.seconds * _QUALITY_PASSES * chosen / rows
    return read_step(signal, "quality", chosen * columns, peak_memory=0.0, seconds=seconds)


def _of_profiles(signal: Nanodiffraction, work: PlanStep, *, r_max: float) -> PlanStep:
    """What is made of the profiles, which are in memory by then: S(k), G(r), structural types and their test."""
    positions = float(np.prod(signal.data.shape[:2]))
    # S(k) is as large as the profiles; G(r) comes in steps of 0.05 angstrom, in single precision.
    curves = min(work.output_bytes + 4 * positions * r_max / 0.05, float(IN_MEMORY_BYTES))
    memory = _COPIES * curves + _POSITION_BYTES * positions
    return PlanStep("G(r) and structural types", 0.0, 0.0, memory, 0.0, _POSITION_SECONDS * positions)
