"""Glass models with known order, their diffraction patterns, and detector-file writers."""

from medrange.simulate.clusters import CLUSTER_ORDERS, Cluster, cluster_positions
from medrange.simulate.diffraction import Detector, Probe, scattering_factor, simulate_scan
from medrange.simulate.glass import glass_with_clusters
from medrange.simulate.kinematic import kinematic_order, kinematic_ring, truth_table
from medrange.simulate.noise import clip_counts, poisson_counts
from medrange.simulate.writers import write_empad, write_merlin

__all__ = [
    "CLUSTER_ORDERS",
    "Cluster",
    "Detector",
    "Probe",
    "clip_counts",
    "cluster_positions",
    "glass_with_clusters",
    "kinematic_order",
    "kinematic_ring",
    "poisson_counts",
    "scattering_factor",
    "simulate_scan",
    "truth_table",
    "write_empad",
    "write_merlin",
]
