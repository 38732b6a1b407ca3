from .bipyramid_shape import MotifGeometry, motif_geometry
from .bond_orientation import BondOrder, bond_order, steinhardt_order
from .density import DensityContrast, MassDensity, mass_density
from .distortion_scan import MotifFractions, motif_fractions
from .interface import InterfaceWidth, interface_width
from .model import AtomicModel, as_model
from .motif_search import Motifs, motifs
from .neighbors import Neighbors
from .networks import MotifNetworks, motif_networks
from .nuclei import CrystalNuclei, crystal_nuclei
from .pair_correlation import PairDistribution, pair_distribution
from .polytetrahedra import Tetrahedra, tetrahedra
from .sharing import MotifSharing, PartialIcosahedra, motif_sharing, partial_icosahedra
from .solute_order import CrystalLikeOrder, LatticePatch, crystal_like_order
from .voronoi import VoronoiIndices, voronoi_index

__all__ = [
    "AtomicModel",
    "BondOrder",
    "CrystalLikeOrder",
    "CrystalNuclei",
    "DensityContrast",
    "InterfaceWidth",
    "LatticePatch",
    "MassDensity",
    "MotifFractions",
    "MotifGeometry",
    "MotifNetworks",
    "MotifSharing",
    "Motifs",
    "Neighbors",
    "PairDistribution",
    "PartialIcosahedra",
    "Tetrahedra",
    "VoronoiIndices",
    "as_model",
    "bond_order",
    "crystal_like_order",
    "crystal_nuclei",
    "interface_width",
    "mass_density",
    "motif_fractions",
    "motif_geometry",
    "motif_networks",
    "motif_sharing",
    "motifs",
    "pair_distribution",
    "partial_icosahedra",
    "steinhardt_order",
    "tetrahedra",
    "voronoi_index",
]
