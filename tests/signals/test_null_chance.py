"""The null against scans that it knows nothing of: multislice code on random atoms, no cluster, seeds of its own."""

import numpy as np
import pytest
from ase import Atoms
from threadpoolctl import threadpool_limits

import medrange as mr
from medrange.simulate import Detector, Probe, simulate_scan

SCANS, POSITIONS, STEP = 10, 20, 0.4
ORDERS = tuple(range(1, 13))
ELECTRONS = 30_000


def random_scan(seed):
    """Counts of a thin film of atoms at random places: coherent speckle of a real potential."""
    rng = np.random.default_rng(seed)
    side = 10 * (POSITIONS * STEP + 4.0)
    positions = rng.random((round(side**2 * 50 * 0.02), 3)) * (side, side, 0)
    frames = simulate_scan(
        Atoms("Zr" * len(positions), positions, cell=(side, side, 50)),
        probe=Probe(300, 1.15),
        detector=Detector((40, 40), 0.25, (19.6, 20.2)),
        scan_shape=(POSITIONS, POSITIONS),
        scan_step=STEP,
        scan_origin=(2.0, 2.0),
        slice_thickness=np.inf,
    )
    scan = mr.Nanodiffraction(rng.poisson(frames * ELECTRONS).astype(np.uint16))
    scan.calibrate(scan_step=STEP, k_step=0.25, beam_energy=300, convergence_angle=1.15)
    scan.set_center((19.6, 20.2))
    return scan


@pytest.fixture(scope="module")
def tables():
    """Columns of the enrichment tables, (scan, order); the sum over the orders comes last."""
    found = []
    for seed in range(SCANS):
        # Products of small matrices: threads of BLAS would only get into each other's way.
        with threadpool_limits(1):
            scan = random_scan(seed)
        result = scan.medium_range_order(k=3.6, width=0.8, orders=ORDERS)
        found.append(result.power.hotspots().enrichment(result.power.null(seed=100 + seed)))
    return {name: np.array([table[name] for table in found], dtype=float) for name in found[0].columns if name != "n"}


def binomial_limit(chance, draws):
    """Share of ``draws`` that a chance exceeds no more than one time in a hundred."""
    return chance + 2.33 * np.sqrt(chance * (1 - chance) / draws)


pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:the mean hotspot diameter", "ignore:the bulk of the maps"),
]


def test_every_order_has_the_hotspots_of_chance(tables):
    """Over all scans: some 250 to 300 regions per order, which count to 6 %."""
    ratio = tables["count"].sum(axis=0) / tables["expected_count"].sum(axis=0)
    assert ratio == pytest.approx(1, abs=0.2)
    assert ratio[:-1].mean() == pytest.approx(1, abs=0.05)
    area = tables["area_fraction"].sum(axis=0) / tables["expected_area_fraction"].sum(axis=0)
    assert area == pytest.approx(1, abs=0.2)
    assert area[:-1].mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", ["p_value", "area_p_value", "diameter_p_value"])
def test_p_values_are_small_no_more_often_than_they_say(tables, name):
    values = tables[name]
    for level in (0.05, 0.1, 0.2, 0.5):
        assert (values < level).mean() < binomial_limit(level, values.size)
    # Not always large either: a p-value that is never small finds nothing.
    assert (values < 0.2).mean() > 0.1


def test_the_counting_error_covers_the_scatter(tables):
    """Regions keep apart, so that counts scatter less than Poisson: 2/3 or more lie within one error."""
    away = np.abs(tables["enrichment"] - 1) / tables["enrichment_error"]
    assert (away < 1).mean() > 0.66
    assert (away < 3).all()
