"""Time of the analyses of atomic models, in CPU seconds, and freud on the same work in the same run.

Run: MEDRANGE_DATA=<folder of published data> python benchmarks/atomic_models.py
Without the data, only the simulated model is timed. A new analysis is one line in ``ANALYSES``: a name and a
function of the model, with the freud version where there is one.
"""

import os
import time
from pathlib import Path

import freud
import numpy as np

from medrange.aet.atoms import Neighbors, as_model, bond_order, crystal_nuclei, interface_width, pair_distribution

CUTOFF = 4.12


def models():
    """Names and positions: the Ta film, and a disordered fcc cube with as many atoms as Pd2 of the paper."""
    folder = os.environ.get("MEDRANGE_DATA")
    if folder:
        with np.load(Path(folder) / "ta_film" / "ta_film_atoms.npz") as data:
            yield "Ta film", data["positions"].astype(float)
    rng = np.random.default_rng(0)
    corners = np.indices((27, 27, 27)).reshape(3, -1).T
    basis = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    positions = 4.1 * (corners[:, None] + basis).reshape(-1, 3)
    yield "simulated", positions + rng.normal(0, 0.3, positions.shape)


def freud_system(model):
    """Box without neighbors across its border, and single precision points, as freud takes them."""
    points = (model.positions - model.positions.mean(axis=0)).astype(np.float32)
    return freud.box.Box.cube(2.5 * np.abs(points).max() + 50), points


def freud_bond_order(model):
    box, points = freud_system(model)
    query = freud.locality.AABBQuery(box, points).query(points, {"r_max": CUTOFF, "exclude_ii": True})
    pairs = query.toNeighborList()
    for order in (4, 6):
        freud.order.Steinhardt(order, average=True).compute((box, points), neighbors=pairs)


def freud_pair_counts(model):
    freud.density.RDF(200, 20.0).compute(freud_system(model))


ANALYSES = (
    ("neighbors", lambda model: Neighbors(model, CUTOFF), None),
    ("averaged Q4 and Q6, with neighbors", lambda model: bond_order(model, cutoff=CUTOFF), freud_bond_order),
    ("crystal nuclei, with Q4 and Q6", lambda model: crystal_nuclei(bond_order(model, cutoff=CUTOFF)), None),
    # freud counts the pairs, but for a periodic box: it has no correction for the outline.
    ("g(r) to 20 angstrom, outline corrected", pair_distribution, freud_pair_counts),
    ("interface", lambda model: interface_width(crystal_nuclei(bond_order(model, cutoff=CUTOFF))), None),
)


def cpu(function, model, repeats=3):
    """Smallest CPU seconds of several calls, after one that is not counted."""
    function(model)
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        function(model)
        spent.append(time.process_time() - start)
    return min(spent)


def main():
    """Print the table."""
    freud.parallel.set_num_threads(1)
    for name, positions in models():
        model = as_model(positions)
        print(f"\n{name}, {len(model)} atoms{'':<20} | CPU s | freud | ratio")
        for title, ours, theirs in ANALYSES:
            try:
                spent = cpu(ours, model)
            except ValueError as error:
                print(f"{title:<42} | not for this model: {error}")
                continue
            other = cpu(theirs, model) if theirs else np.nan
            print(f"{title:<42} | {spent:5.2f} | {other:5.2f} | {other / spent:5.1f}", flush=True)


if __name__ == "__main__":
    main()
