"""The run behind ``medrange packing``: read a model, analyze its packing, write tables, figures and a page."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medrange.aet.atoms import (
    as_model,
    bond_order,
    crystal_nuclei,
    interface_width,
    mass_density,
    motif_fractions,
    motif_geometry,
    motif_networks,
    motif_sharing,
    motifs,
    pair_distribution,
    partial_icosahedra,
    tetrahedra,
    voronoi_index,
)
from medrange.report.running import Tell, gathered_warnings

if TYPE_CHECKING:
    from medrange.aet.atoms import (
        AtomicModel,
        BondOrder,
        CrystalNuclei,
        InterfaceWidth,
        MassDensity,
        MotifFractions,
        MotifGeometry,
        MotifNetworks,
        Motifs,
        MotifSharing,
        PairDistribution,
        PartialIcosahedra,
        VoronoiIndices,
    )
    from medrange.report.making import ReportFiles

#: Fewer crystal atoms than this have no interface worth a fit.
_FEWEST_CRYSTAL = 50
#: Bipyramids whose networks are looked for.
_FOLDS = (4, 5, 6)


@dataclass(frozen=True)
class PackingOptions:
    """How to analyze a model; lengths in angstrom.

    Attributes
    ----------
    cutoff : float, optional
        Neighbors of the bond orientational order; by default the first valley of g(r) of all atoms.
    max_edge : float, optional
        Longest edge of a tetrahedron; by default the first valley of g(r) of the amorphous atoms.
    delta : float
        Largest distortion of a tetrahedron, longest over mean edge less 1.
    alpha_radius : float
        Radius of the alpha shape that bounds the tetrahedra.
    min_size : int
        Fewest bipyramids of a network.
    """

    cutoff: float | None = None
    max_edge: float | None = None
    delta: float = 0.255
    alpha_radius: float = 4.0
    min_size: int = 5


@dataclass(frozen=True, eq=False)
class PackingAnalysis:
    """What was computed from a model. All but ``order``, ``nuclei`` and ``density`` is of its amorphous part.

    Attributes
    ----------
    distribution : PairDistribution
        g(r) of the amorphous atoms.
    order, nuclei : BondOrder, CrystalNuclei
        Bond orientational order, and the crystal nuclei found by it.
    interface : InterfaceWidth or None
        None where there are too few crystal atoms, or the order does not decay.
    voronoi : VoronoiIndices
        Cells of the amorphous atoms.
    motifs : Motifs
        Motifs with an amorphous tetrahedron.
    fractions : MotifFractions
        Motifs against the largest distortion.
    geometry, sharing, partial : MotifGeometry, MotifSharing, PartialIcosahedra
        Of the pentagonal bipyramids.
    networks : dict of int to MotifNetworks
        By the fold of the bipyramids, 4, 5 and 6.
    density : MassDensity or None
        None for a model without chemical symbols.
    options : PackingOptions
        With the cutoffs that were used.
    """

    distribution: PairDistribution
    order: BondOrder
    nuclei: CrystalNuclei
    interface: InterfaceWidth | None
    voronoi: VoronoiIndices
    motifs: Motifs
    fractions: MotifFractions
    geometry: MotifGeometry
    sharing: MotifSharing
    partial: PartialIcosahedra
    networks: dict[int, MotifNetworks]
    density: MassDensity | None
    options: PackingOptions


def write_packing(
    path: str | Path, options: PackingOptions, *, folder: str | Path, tell: Tell = lambda _: None
) -> ReportFiles:
    """Analyze a model and write tables, figures, atoms for viewers, and the page.

    Parameters
    ----------
    path : str or path
        Atomic model, any file ASE reads: .xyz, .extxyz, .cif, LAMMPS data.
    options : PackingOptions
        How to analyze it.
    folder : str or path
        Where to write; made when missing.
    tell : callable, optional
        Called with one line before each step, and with each warning.

    Returns
    -------
    ReportFiles
        The paths written; ``maps`` are the atoms with their columns.

    Raises
    ------
    ValueError
        If the model cannot be analyzed; the message says why.

    Examples
    --------
    >>> write_packing("model.xyz", PackingOptions(), folder="out").page  # doctest: +SKIP
    """
    from medrange.report.packing_report import write_packing_report

    with gathered_warnings(tell) as messages:
        analysis = analyze_model(path, options, tell=tell)
        tell("writing figures, tables and the page")
        return write_packing_report(analysis, folder=folder, source=path, warnings=messages)


def analyze_model(
    path: AtomicModel | str | Path, options: PackingOptions, *, tell: Tell = lambda _: None
) -> PackingAnalysis:
    """All of the analysis, in memory.

    Parameters
    ----------
    path : AtomicModel, ase.Atoms, array or path
        The model: in memory, or a file any of ASE's readers knows.
    options, tell
        As in :func:`write_packing`.

    Returns
    -------
    PackingAnalysis
        The results.

    Raises
    ------
    ValueError
        If there are too few atoms, none but crystal atoms, or no valley of g(r) to take a cutoff from.
    """
    if isinstance(path, str | Path):
        tell(f"reading {path}")
    model = as_model(path)
    tell(f"pair distribution of {len(model)} atoms")
    cutoff = options.cutoff or _valley(pair_distribution(model).first_valley, "--cutoff")
    tell("bond orientational order and crystal nuclei")
    order = bond_order(model, cutoff=cutoff)
    nuclei = crystal_nuclei(order)
    _check_amorphous(nuclei)
    distribution = pair_distribution(model, select=nuclei.amorphous, partial=len(model.species) > 1)
    max_edge = options.max_edge or _valley(distribution.first_valley, "--max-edge")
    tell("Voronoi cells")
    cells = voronoi_index(model)
    tell("tetrahedra, motifs and networks")
    accepted = tetrahedra(model, options.delta, max_edge=max_edge, alpha_radius=options.alpha_radius)
    found = motifs(accepted).select(nuclei.amorphous)
    fractions = motif_fractions(accepted, amorphous=nuclei.amorphous)
    density = None
    if model.symbols is not None:
        tell("local mass density")
        density = mass_density(model, fwhm=max_edge, volumes=cells.volumes)
    return PackingAnalysis(
        distribution=distribution,
        order=order,
        nuclei=nuclei,
        interface=_interface(nuclei),
        voronoi=cells.select(nuclei.amorphous),
        motifs=found,
        fractions=fractions,
        geometry=motif_geometry(found),
        sharing=motif_sharing(found),
        partial=partial_icosahedra(found),
        networks={fold: motif_networks(found, fold, min_size=options.min_size) for fold in _FOLDS},
        density=density,
        options=PackingOptions(cutoff, max_edge, options.delta, options.alpha_radius, options.min_size),
    )


def _valley(position: float, option: str) -> float:
    if not np.isfinite(position):
        msg = f"g(r) of the model has no first valley; give the distance in angstrom with {option}."
        raise ValueError(msg)
    return float(position)


def _check_amorphous(nuclei: CrystalNuclei) -> None:
    count = int(nuclei.amorphous.sum())
    if count < 5:
        msg = (
            f"{count} of {len(nuclei.crystal)} atoms are amorphous: the model is crystalline, and the packing analysis "
            "is of the amorphous part."
        )
        raise ValueError(msg)


def _interface(nuclei: CrystalNuclei) -> InterfaceWidth | None:
    """Width of the crystal-glass interface where there is one to fit."""
    if nuclei.crystal.sum() < _FEWEST_CRYSTAL:
        return None
    try:
        return interface_width(nuclei)
    except ValueError as error:
        # The order around small or diffuse nuclei need not decay with distance.
        warnings.warn(f"no interface width: {error}", stacklevel=2)
        return None
