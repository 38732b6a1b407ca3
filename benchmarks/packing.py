"""Time of the packing analysis of atomic models: Voronoi cells and the search for motifs.

    python benchmarks/packing.py              # 76 000 atoms for the cells; 10 000 and 100 000 for the motifs
    python benchmarks/packing.py --quick      # 4 000 atoms, to see that it runs
    python benchmarks/packing.py --large      # also 1 000 000 atoms: some minutes and 4 GiB

The model is a dense packing of soft spheres, relaxed in a periodic block and repeated. `plain_motifs` is the
search as the definition says it, a plain-Python walk over all cycles of the graph of shared faces; the tests
hold the results of the package against it.
"""

import argparse
import time
from collections import defaultdict

import numpy as np
from scipy.spatial import cKDTree

from medrange.aet.atoms import motif_networks, motifs, tetrahedra, voronoi_index

_BLOCK, _DENSITY, _DIAMETER = 16_000, 0.055, 2.75
_MAX_EDGE = 4.0


def packing(count, seed=0, steps=80):
    """Positions of about ``count`` soft spheres, angstrom: a cube cut from a repeated periodic block."""
    rng = np.random.default_rng(seed)
    block = min(count, _BLOCK)
    side = (block / _DENSITY) ** (1 / 3)
    points = rng.random((block, 3)) * side
    diameters = _DIAMETER * (1 + 0.04 * rng.standard_normal(block))
    for _ in range(steps):
        pairs = cKDTree(points, boxsize=side).query_pairs(diameters.max(), output_type="ndarray")
        offset = points[pairs[:, 1]] - points[pairs[:, 0]]
        offset -= side * np.round(offset / side)
        distance = np.maximum(np.linalg.norm(offset, axis=1), 1e-3)
        push = offset * (np.maximum(diameters[pairs].mean(axis=1) - distance, 0) / distance / 2)[:, None]
        for axis in range(3):
            points[:, axis] += np.bincount(pairs[:, 1], push[:, axis], block)
            points[:, axis] -= np.bincount(pairs[:, 0], push[:, axis], block)
        points %= side
        points[points >= side] = 0.0
    times = int(np.ceil((count / block) ** (1 / 3)))
    shifts = np.stack(np.meshgrid(*[np.arange(times)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    points = (points + shifts * side).reshape(-1, 3)
    # Cut to size as a cube, so that surface and volume keep their proportion; a small shake undoes the repeats.
    points = points[np.argsort(points.max(axis=1), kind="stable")[:count]]
    return points + rng.normal(0, 0.02, points.shape)


def plain_motifs(vertices, face_pairs):
    """Motifs by fold as sets of tetrahedra, by a plain search of all simple cycles of up to 8 tetrahedra."""
    linked = defaultdict(set)
    for i, j in face_pairs.tolist():
        linked[i].add(j)
        linked[j].add(i)
    atoms = [frozenset(row) for row in vertices.tolist()]
    found, cyclic = {fold: set() for fold in range(3, 9)}, set()

    def close(cycle):
        cyclic.update(cycle)
        size = len(cycle)
        for a in range(size):
            for b in range(a + 2, size):
                if (a, b) != (0, size - 1) and cycle[b] in linked[cycle[a]]:
                    return
        if len(frozenset.intersection(*(atoms[t] for t in cycle))) == 2:
            found[size].add(frozenset(cycle))

    def walk(path):
        for ahead in linked[path[-1]]:
            if ahead == path[0] and len(path) >= 4 and path[1] < path[-1]:
                close(path)
            elif ahead > path[0] and ahead not in path and len(path) < 8:
                walk([*path, ahead])

    for start in list(linked):
        walk([start])
    for middle, around in list(linked.items()):
        for end in around:
            if len(linked[end]) == 1:
                for other in around - {end}:
                    if not cyclic & {other, middle, end}:
                        found[3].add(frozenset((other, middle, end)))
    return found


def timed(function, *arguments, **keywords):
    """Result, CPU and wall seconds of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = function(*arguments, **keywords)
    return result, time.process_time() - cpu, time.perf_counter() - wall


def report(name, cpu, wall, note=""):
    print(f"{name:<46} | {cpu:9.3f} {wall:9.3f} | {note}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 000 atoms")
    parser.add_argument("--large", action="store_true", help="also 1 000 000 atoms")
    arguments = parser.parse_args()
    # The kernels are compiled before the clock starts.
    small = packing(500)
    voronoi_index(small)
    motif_networks(motifs(tetrahedra(small, max_edge=_MAX_EDGE)))
    print(f"{'':<46} |     CPU s    wall s |")
    count = 4_000 if arguments.quick else 76_000
    cells, *seconds = timed(voronoi_index, packing(count))
    report(f"voronoi_index, {count} atoms", *seconds, cells)
    for count in (4_000,) if arguments.quick else (10_000, 100_000, 1_000_000)[: 3 if arguments.large else 2]:
        found, *seconds = timed(tetrahedra, packing(count), max_edge=_MAX_EDGE)
        report(f"tetrahedra, {count} atoms", *seconds, found)
        kinds, *seconds = timed(motifs, found)
        report(f"motifs, {count} atoms", *seconds, kinds)
        networks, *seconds_networks = timed(motif_networks, kinds)
        report(f"motif_networks, {count} atoms", *seconds_networks, networks)
        if count <= 10_000:
            plain, *slow = timed(plain_motifs, found.vertices, found.face_pairs)
            same = all(plain[fold] == {frozenset(row) for row in kinds.of_fold(fold).tolist()} for fold in plain)
            # The quick search is over before a clock tick; its best of several calls is compared.
            seconds[0] = min(timed(motifs, found)[1] for _ in range(5))
            report("the same in plain Python", *slow, f"{slow[0] / seconds[0]:.0f} times the CPU, same sets: {same}")


if __name__ == "__main__":
    main()
