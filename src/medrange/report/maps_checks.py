"""What stands before the maps of a run on its page: the quality of the scan, and the hotspots against chance."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medrange.report.page import Section, Table
from medrange.signals.tables import with_units

if TYPE_CHECKING:
    from medrange.signals.hotspots import Hotspots
    from medrange.signals.mro_result import MROResult
    from medrange.signals.nanodiffraction import Nanodiffraction
    from medrange.signals.null import MRONull
    from medrange.signals.quality import QualityReport

#: Scans of more positions are held against chance only where that is asked for: a minute or two of work.
AFFORDABLE_POSITIONS = 128 * 128
# Of larger scans some rows are judged, read into memory once.
_QUALITY_BYTES = 256 * 2**20
# Told by the page itself, from all of the scan.
_TOLD_ELSEWHERE = ("odd to even power",)
_COLUMNS = [
    "n", "count", "expected_count", "enrichment", "enrichment_error", "p_value", "diameter_mean", "expected_diameter",
    "diameter_p_value", "size_resolved", "area_fraction", "expected_area_fraction", "area_p_value", "volume_enrichment",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Chance:
    """Hotspots against those of random objects.

    Attributes
    ----------
    table : pandas.DataFrame
        Of :meth:`Hotspots.enrichment`, one row per order, their sum, and V2D.
    strength : pandas.DataFrame
        Of :meth:`NullMaps.typical`: ``n``, ``ratio``, ``ratio_std``.
    parameters : dict
        Of :class:`NullMaps`.
    """

    table: pd.DataFrame
    strength: pd.DataFrame
    parameters: dict


def hold_against_chance(result: MROResult, hotspots: Hotspots, *, asked: bool | None) -> Chance | None:
    """Enrichment of the hotspots of P_n and V2D over a null model; None where it is left out.

    Parameters
    ----------
    result : MROResult
        In memory.
    hotspots : Hotspots
        Of ``result.power``.
    asked : bool or None
        None: where the probe is known and the scan has at most 128 x 128 positions.

    Raises
    ------
    ValueError
        If it is asked for and the probe is unknown.

    Warns
    -----
    UserWarning
        If it is left out though nobody said so, or hotspots are no larger than the probe makes them.
    """
    if asked is False:
        return None
    missing = _missing_instrument(result)
    positions = result.variance.data.size
    if missing and asked:
        msg = f"the null model needs the probe; give {' and '.join(missing)}, or --no-null."
        raise ValueError(msg)
    if missing or (asked is None and positions > AFFORDABLE_POSITIONS):
        reason = f"give {' and '.join(missing)}" if missing else f"{positions} positions take some minutes, give --null"
        warnings.warn(
            f"The hotspots were not held against chance ({reason}): plain speckle has hotspots of every order too.",
            stacklevel=2,
        )
        return None
    null = result.null()
    return Chance(_enrichment(result, hotspots, null), null.power.typical(), null.power.parameters)


def _missing_instrument(result: MROResult) -> list[str]:
    options = {"convergence_angle": "--convergence MRAD (semi-angle of the probe)", "beam_energy": "--energy KV"}
    has_item = result.power.metadata.has_item
    return [option for name, option in options.items() if not has_item(f"Acquisition_instrument.TEM.{name}")]


def _enrichment(result: MROResult, hotspots: Hotspots, null: MRONull) -> pd.DataFrame:
    """Rows of the orders, of their sum, and of V2D, found by the same rule; a number is a threshold of P_n alone."""
    table = hotspots.enrichment(null.power)
    asked = hotspots.parameters
    if not isinstance(asked["threshold"], str):
        return table
    found = result.variance.hotspots(
        asked["threshold"],
        thickness=asked["thickness"],
        acceptance_angle=asked["acceptance_angle"],
        min_pixels=asked["min_pixels"],
    )
    with warnings.catch_warnings():
        # The orders are warned of; of V2D the table tells.
        warnings.filterwarnings("ignore", message="the mean hotspot diameter")
        variance = found.enrichment(null.variance)
    variance["n"] = "V2D"
    return with_units(pd.concat([table, variance], ignore_index=True), table.attrs["units"])


def chance_section(chance: Chance) -> Section:
    """Part of the page that tells which hotspots a random object has too."""
    p = chance.parameters
    measured = chance.table[np.isfinite(chance.table["diameter_p_value"])]
    blurred = measured.loc[~measured["size_resolved"].astype(bool), "n"].astype(str)
    size = (
        f"Mean diameters of n = {', '.join(blurred)} are no larger than those of random objects: they tell the size of "
    )
    return Section(
        "Order against chance",
        (f"{size}the probe, not of ordered regions.\n\n" if len(blurred) else "")
        + f"Every row compares the hotspots of a map with those of {p['n_realizations']} random objects, which have "
        "speckle but no order, under the same probe, scan, ring, mask and dose, above the same threshold. A p-value is "
        "the chance that a random object has as many hotspots (p_value), as large ones (diameter_p_value) or as much "
        f"area in them (area_p_value); none is below {1 / (1 + p['n_realizations']):.2g}. Where order is dense, "
        "hotspots merge: area and volume then tell more than the count.\n\n"
        f"The random objects were fitted to the maps (speckle contrast {p['contrast']:.2f}, part without Friedel "
        f"symmetry {p['beta']:.2f}). The ratio in the second table is the median of each map over that of a random "
        "object: 1 within a few times ratio_std, unless order of that symmetry fills much of the field.",
        tables=(
            Table(chance.table[_COLUMNS], "Hotspots over chance, one row per map.", digits=3),
            Table(chance.strength, "Bulk of each map over that of a random object.", digits=3),
        ),
    )


def quality_step(signal: Nanodiffraction) -> int:
    """Every how many-th row of a scan its quality is judged by: rows of at most 256 MiB, but two at least."""
    rows, columns = signal.data.shape[:2]
    row_bytes = columns * signal.data[0, 0].nbytes
    return -(-rows // int(np.clip(_QUALITY_BYTES // row_bytes, 2, rows)))


def quality_sample(signal: Nanodiffraction) -> Nanodiffraction:
    """Rows spread over the scan, by which its quality is judged; the whole scan if it is small."""
    step = quality_step(signal)
    return signal if step == 1 else signal.inav[:, ::step]


def counting_gain(signal: Nanodiffraction) -> float | None:
    """Data units per electron: counts are taken as electrons, floating data tell nothing."""
    return 1.0 if signal.data.dtype.kind in "iu" else None


def quality_section(quality: QualityReport) -> Section:
    """Part of the page with the figures of merit of the scan."""
    return Section(
        "Quality of the scan",
        'Figures of merit of the patterns and of the ring. "look" asks for a look before the maps are believed.',
        tables=(Table(quality.table, "Figures of merit, and what they mean.", digits=3),),
    )


def quality_warnings(quality: QualityReport) -> list[str]:
    """One line for each figure that asks for a look."""
    asked = quality.table[(quality.table["verdict"] == "look") & ~quality.table["figure"].isin(_TOLD_ELSEWHERE)]
    return [
        f"Quality: {row.figure} {row.value:.3g}{' ' * bool(row.unit)}{row.unit}. {row.meaning}"
        for row in asked.itertuples()
    ]
