"""The null of scans with planted clusters: chance where there are none, and not where they are."""

import numpy as np
import pandas as pd
import pytest

import medrange as mr
from medrange.kernels.hotspots import label_hotspots, measure_hotspots
from medrange.signals.autocorrelation import autocorrelate_maps

PROBE = {"convergence_angle": 1.15}
# Small fields cannot tell sizes; what the warning says has its own test.
pytestmark = pytest.mark.filterwarnings("ignore:the mean hotspot diameter")


@pytest.mark.data
class TestSimulatedScan:
    """5 nm of glass with clusters, coherent multislice: a random object is a good null of its matrix."""

    @pytest.fixture(scope="class")
    def folder(self, data_folder):
        return data_folder / "sim" / "empad_clusters_thin"

    @pytest.fixture(scope="class")
    def result(self, folder):
        signal = mr.load(folder / "counts_full_scan.h5", scan_shape=(48, 48))
        signal.calibrate(scan_step=0.32, k_step=0.16, beam_energy=300)
        signal.fit_center()
        return signal.medium_range_order(k=4.0, width=0.8, orders=(2, 4, 6, 8, 10, 12))

    @pytest.fixture(scope="class")
    def null(self, result):
        return result.null(seed=0, **PROBE)

    @pytest.fixture(scope="class")
    def truth(self, folder):
        maps = np.load(folder / "truth_maps.npz")
        return maps["dist_to_any_A"] > 4, maps["dist_to_diffracting_A"] < 0

    @staticmethod
    def inside(image, threshold, region):
        """Hotspots whose center lies in the region, and their share of the region."""
        labels = label_hotspots(image, threshold)
        regions = measure_hotspots(labels, image)
        center = np.rint(regions["y"]).astype(int), np.rint(regions["x"]).astype(int)
        return region[center].sum(), (labels[region] > 0).mean()

    def compared(self, result, null, region):
        """Counts and areas in a region above the thresholds of the whole map, over chance, per order."""
        found = result.power.hotspots(include_sum=False).summary
        rows = []
        for index, threshold in enumerate(found.threshold):
            count, area = self.inside(result.power.data[index], threshold, region)
            chance = np.array([self.inside(image[index], threshold, region) for image in null.power.maps])
            expected = chance[:, 0].mean()
            rows.append((found.n[index], count, expected, np.sqrt(count) / expected, area / chance[:, 1].mean()))
        return pd.DataFrame(rows, columns=["n", "count", "expected", "error", "area"]).set_index("n")

    @pytest.mark.parametrize("match", ["parity", "order"])
    def test_matrix_is_chance(self, result, truth, match):
        """The cluster-free region by itself: maps without values elsewhere, their own thresholds and null."""
        matrix = result.power.deepcopy()
        matrix.data[:, ~truth[0]] = np.nan
        null = matrix.null(seed=0, **PROBE, match=match)
        table = matrix.hotspots(include_sum=False).enrichment(null)
        # The requirement is 0.25; counting alone leaves 0.13 to 0.15.
        assert (np.abs(table.enrichment - 1) < 0.25).all()
        assert table.enrichment_error.between(0.1, 0.16).all()
        assert table.enrichment.mean() == pytest.approx(1, abs=0.1)
        assert (table.expected_area_fraction / table.area_fraction).mean() == pytest.approx(1, abs=0.1)
        if match == "parity":
            assert (table[["p_value", "area_p_value"]] > 0.05).all(axis=None)

    def test_matrix_is_chance_above_the_thresholds_of_the_whole_map(self, result, null, truth):
        """Clusters raise the thresholds (n = 6: 10 regions are left) and their hotspots take in some of the matrix."""
        table = self.compared(result, null, truth[0])
        assert table["count"].sum() / table.expected.sum() == pytest.approx(1, abs=0.1)
        assert (np.abs(table["count"] / table.expected - 1) < 0.25 + table.error).all()
        assert table.area.mean() == pytest.approx(1, abs=0.1)

    def test_diffracting_clusters_are_not(self, result, null, truth):
        table = self.compared(result, null, truth[1])
        assert table["count"][6] / table.expected[6] > 3
        assert table.area[6] > 8
        assert table.area[4] > 1.5
        assert table.area.mean() > 2

    def test_typical_values_and_widths_agree_with_the_matrix(self, result, null, truth):
        matrix, orders = truth[0], list(result.power.orders)
        typical = np.median(result.power.data[:, matrix], axis=1) / np.median(
            null.power.maps[:, :, matrix], axis=(0, 2)
        )
        assert np.exp(np.log(typical).mean()) == pytest.approx(1, abs=0.05)
        assert typical == pytest.approx(1, abs=0.22)
        assert np.median(result.variance.data[matrix]) == pytest.approx(
            np.median(null.variance.maps[:, :, matrix]), rel=0.1
        )

        def widths(maps):
            maps = np.where(matrix, maps, np.nan)
            return autocorrelate_maps(maps, orders, pixel_size=(0.32, 0.32)).correlation_length

        chance = np.array([widths(maps) for maps in null.power.maps])
        found = widths(result.power.data)
        assert found.mean() == pytest.approx(chance.mean(), rel=0.05)
        assert (np.abs(found - chance.mean(axis=0)) < 3 * chance.std(axis=0)).all()

    def test_whole_scan(self, result, null):
        table = result.power.hotspots().enrichment(null.power).set_index("n")
        assert table.p_value[6] < 0.1
        assert table.volume_enrichment[6] > 4
        assert table.volume_enrichment.drop([6, "sum"]).between(0.6, 1.7).all()
        assert null.power.parameters["contrast"] == pytest.approx(1, abs=0.1)
        assert null.power.parameters["beta"] == pytest.approx(0.05, abs=0.02)

    def test_scaled_to_each_order_the_planted_ones_alone_are_left(self, result):
        """n = 4 and 6 are planted; the bulk of n = 12, not its hotspots, is stronger than one contrast gives."""
        null = result.power.null(seed=0, **PROBE, match="order")
        table = result.power.hotspots(include_sum=False).enrichment(null).set_index("n")
        assert (table.area_p_value[[4, 6]] < 0.05).all()
        assert (table.area_p_value.drop([4, 6]) > 0.05).all()
        assert table.volume_enrichment[6] > 2


def test_shipped_sample():
    """Planted orders 2, 4, 6, 10: their hotspots hold more volume than chance gives."""
    truth = mr.datasets.sample_truth("empad").attrs
    scan = mr.load(mr.datasets.sample_scan("empad"))
    scan.calibrate(scan_step=truth["scan_step"], k_step=truth["k_step"], beam_energy=truth["beam_energy"])
    scan.set_center(truth["center"])
    result = scan.medium_range_order(k=4.0, width=0.6)
    null = result.null(convergence_angle=truth["convergence_angle"])
    table = result.power.hotspots().enrichment(null.power).set_index("n")
    assert table.volume_enrichment[6] > 8
    assert table.volume_enrichment[4] > 3
    assert (table.area_p_value[[4, 6]] < 0.06).all()
    # Weak in this small field: fewer hotspots than chance, though larger ones.
    assert table["count"][2] < table.expected_count[2]
    assert table.diameter_mean[2] > 1.5 * table.expected_diameter[2]
    assert table.p_value[10] > 0.3
