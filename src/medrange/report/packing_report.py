"""Files of one packing run: figures, tables, atoms with columns, and the page that shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medrange import plotting
from medrange.plotting.motifs import (
    plot_motif_fractions,
    plot_motif_geometry,
    plot_network,
    plot_network_sizes,
    plot_partial_icosahedra,
    plot_sharing,
    plot_voronoi_populations,
)
from medrange.report.figure_files import Draw, save_figures
from medrange.report.making import ReportFiles, inputs_table, making_section
from medrange.report.page import Figure, Section, Table, write_page

if TYPE_CHECKING:
    from medrange.report.packing_run import PackingAnalysis

#: Networks listed on the page; all are in the table.
_MOST_NETWORKS = 200


@dataclass(frozen=True)
class PackingContent:
    """What a page shows of a packing analysis, and the files beside it.

    Attributes
    ----------
    summary : mapping
        The main figures, name -> value with its unit.
    sections : tuple of Section
        Order, Voronoi cells, motifs, bipyramids, networks, density.
    figures, tables, atoms : tuple of pathlib.Path
        The files written.
    """

    summary: Mapping[str, object]
    sections: tuple[Section, ...]
    figures: tuple[Path, ...]
    tables: tuple[Path, ...]
    atoms: tuple[Path, ...]


def write_packing_report(
    analysis: PackingAnalysis, *, folder: str | Path, source: str | Path, warnings: Iterable[str] = ()
) -> ReportFiles:
    """Write figures, tables, atoms for viewers and one HTML page of a packing analysis.

    Parameters
    ----------
    analysis : PackingAnalysis
        From :func:`medrange.report.packing_run.analyze_model`.
    folder : str or path
        Gets ``index.html``, ``figures/*.png``, ``tables/*.csv`` and ``atoms/*.extxyz``; files of the same name
        are replaced.
    source : path
        The file of the model; name, size and checksum go on the page.
    warnings : iterable of str, optional
        Shown above everything else.

    Returns
    -------
    ReportFiles
        The paths written; ``maps`` are the files of atoms.

    Raises
    ------
    FileNotFoundError
        If the source does not exist.

    Examples
    --------
    >>> write_packing_report(analysis, folder="out", source="model.xyz").page  # doctest: +SKIP
    """
    folder = Path(folder)
    inputs = inputs_table([source])
    content = packing_content(analysis, folder)
    page = write_page(
        folder / "index.html",
        title=f"Atomic packing of {Path(source).name}",
        summary=content.summary,
        sections=[
            *content.sections,
            making_section({f"{name} (Å)" if name in _LENGTHS else name: v for name, v in _settings(analysis)}, inputs),
        ],
        warnings=warnings,
    )
    return ReportFiles(page, content.figures, content.tables, content.atoms)


def packing_content(analysis: PackingAnalysis, folder: Path) -> PackingContent:
    """Write figures, tables and atoms of a packing analysis, for whichever page shows them.

    Parameters
    ----------
    analysis : PackingAnalysis
        From :func:`medrange.report.packing_run.analyze_model`.
    folder : pathlib.Path
        Gets ``figures/*.png``, ``tables/*.csv`` and ``atoms/*``; files of the same name are replaced.

    Returns
    -------
    PackingContent
        Sections and main figures of a page, and the paths written.
    """
    for name in ("tables", "atoms"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    figures = save_figures(folder / "figures", _drawings(analysis))
    sections = (
        _order_section(analysis, figures),
        _voronoi_section(analysis, figures),
        _motif_section(analysis, figures),
        _bipyramid_section(analysis, figures),
        _network_section(analysis, figures),
        *([_density_section(analysis, figures)] if analysis.density is not None else []),
    )
    tables, atoms = _tables(analysis, folder / "tables"), _atoms(analysis, folder)
    return PackingContent(_main_figures(analysis), sections, tuple(figures.values()), tables, atoms)


_LENGTHS = ("cutoff", "max_edge", "alpha_radius")


def _settings(analysis: PackingAnalysis) -> list[tuple[str, object]]:
    return list(asdict(analysis.options).items())


def _drawings(analysis: PackingAnalysis) -> dict[str, tuple[Draw, tuple[float, float]]]:
    """What draws each figure, and its size in inches."""
    options = analysis.options

    def order(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        plotting.plot_pair_distribution(analysis.distribution, ax=left)
        plotting.plot_bond_order(analysis.order, ax=right)

    def sharing(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        plot_sharing(analysis.sharing, ax=left)
        plot_partial_icosahedra(analysis.partial, ax=right)

    drawings: dict[str, tuple[Draw, tuple[float, float]]] = {
        "order": (order, (8.0, 3.0)),
        "voronoi": (lambda figure: plot_voronoi_populations(analysis.voronoi, ax=figure.subplots()), (5.6, 3.1)),
        "motif_fractions": (
            lambda figure: plot_motif_fractions(analysis.fractions, delta=options.delta, ax=figure.subplots()),
            (5.6, 3.1),
        ),
    }
    if analysis.interface is not None:
        drawings["interface"] = (
            lambda figure: plotting.plot_interface(analysis.interface, ax=figure.subplots()),
            (4.6, 3.0),
        )
    if len(analysis.motifs.pentagonal):
        drawings["bipyramids"] = (
            lambda figure: plot_motif_geometry(analysis.geometry, axes=figure.subplots(1, 3)),
            (8.6, 2.8),
        )
        drawings["sharing"] = (sharing, (7.4, 2.8))
    if len(analysis.networks[5]):
        drawings["network_sizes"] = (
            lambda figure: plot_network_sizes(analysis.networks[5], ax=figure.subplots()),
            (4.0, 2.9),
        )
        drawings["largest_network"] = (
            lambda figure: plot_network(analysis.networks[5], ax=figure.add_subplot(projection="3d")),
            (5.0, 4.8),
        )
    if analysis.density is not None:
        drawings["density"] = (
            lambda figure: plotting.plot_density_slice(analysis.density, ax=figure.subplots()),
            (4.8, 3.6),
        )
    return drawings


def _tables(analysis: PackingAnalysis, folder: Path) -> tuple[Path, ...]:
    """Every table as CSV."""
    named = {
        "pair_distribution": analysis.distribution,
        "bond_order": analysis.order,
        "crystal_nuclei": analysis.nuclei,
        "voronoi": analysis.voronoi,
        "motifs": analysis.motifs,
        "motif_fractions": analysis.fractions,
        "bipyramids": analysis.geometry,
        "sharing": analysis.sharing,
        "partial_icosahedra": analysis.partial,
        **{f"networks_{fold}": networks for fold, networks in analysis.networks.items()},
        **({"interface": analysis.interface} if analysis.interface is not None else {}),
    }
    return tuple(result.save(folder / f"{name}.csv") for name, result in named.items())


def _atoms(analysis: PackingAnalysis, folder: Path) -> tuple[Path, ...]:
    """Atoms with their columns, as OVITO and ASE open them, and the networks with their skeletons."""
    atoms = analysis.nuclei.to_ase()
    columns = analysis.voronoi.atoms.arrays
    columns |= {"network": analysis.networks[5].atoms.arrays["network"], "caps": analysis.partial.n}
    for name, values in columns.items():
        if name not in ("numbers", "positions"):
            atoms.arrays[name] = values
    path = folder / "atoms" / "atoms.extxyz"
    atoms.write(path, format="extxyz")
    return (path, analysis.networks[5].save(folder / "atoms" / "networks.npz"))


def _order_section(analysis: PackingAnalysis, figures: Mapping[str, Path]) -> Section:
    nuclei, options = analysis.nuclei, analysis.options
    shown = [
        Figure(
            figures["order"],
            "Left: pair distribution g(r) of the amorphous atoms, corrected for the finite shape of the model. Right: "
            f"averaged bond orientational order of all atoms, neighbors within {options.cutoff:.2f} Å; outside the "
            "arc the normalized order is above 0.5. As Fig. 1c and Supplementary Fig. 8 of Yuan et al. (2022).",
        )
    ]
    if "interface" in figures:
        shown.append(
            Figure(
                figures["interface"],
                "Bond orientational order against the distance from the surface of the crystal nuclei. The width "
                "depends on the window of the fit; compare it only at equal settings.",
            )
        )
    return Section(
        "Order",
        f"{int(nuclei.crystal.sum())} of {len(nuclei.crystal)} atoms belong to crystal nuclei. Everything below is of "
        "the amorphous rest; the tessellations are of all atoms.",
        tuple(shown),
        (Table(nuclei.table, "Crystal nuclei, the largest first; positions in angstrom."),),
    )


def _voronoi_section(analysis: PackingAnalysis, figures: Mapping[str, Path]) -> Section:
    cells = analysis.voronoi
    left_out = len(analysis.motifs.model) - int(cells.counted.sum())
    return Section(
        "Voronoi cells",
        f"Faces below {cells.parameters['min_area_fraction']:.0%} of a cell's area are removed, and the cell is built "
        f"again. {left_out} atoms are not counted: crystal atoms, and those at the surface, whose cells are open.",
        (
            Figure(
                figures["voronoi"],
                "Shares of the most frequent Voronoi indices, by coordination number. Distorted icosahedra are "
                "red. As Fig. 1d of Yuan et al. (2022).",
            ),
        ),
        (Table(cells.populations.head(50), "The most frequent indices."),),
    )


def _motif_section(analysis: PackingAnalysis, figures: Mapping[str, Path]) -> Section:
    counts = analysis.motifs.counts
    fractions = analysis.motifs.fractions(analysis.nuclei.amorphous)
    rows = [(name, count, fractions.get(name, np.nan)) for name, count in counts.items()]
    return Section(
        "Polytetrahedral motifs",
        f"A tetrahedron counts if its longest edge is at most {1 + analysis.options.delta:.3f} times its mean edge and "
        f"{analysis.options.max_edge:.2f} Å. Motifs may overlap, so that their shares can add up to more than 1.",
        (
            Figure(
                figures["motif_fractions"],
                "Share of the tetrahedra in each kind of motif against the largest distortion. As Fig. 2b of "
                "Yuan et al. (2022).",
            ),
        ),
        (
            Table(pd.DataFrame(rows, columns=["motif", "count", "share of tetrahedra"]), "Motifs at this distortion."),
            Table(analysis.fractions.table, "Motifs against the largest distortion."),
        ),
    )


def _bipyramid_section(analysis: PackingAnalysis, figures: Mapping[str, Path]) -> Section:
    if "bipyramids" not in figures:
        return Section("Pentagonal bipyramids", "None were found.")
    return Section(
        "Pentagonal bipyramids",
        "α joins the caps, β cap and ring, γ neighbors in the ring. Ideal would be α/γ = 1.05, β/γ = 1 and θ = 0; "
        "in an icosahedron φ is 116.6 degrees.",
        (
            Figure(figures["bipyramids"], "Bond ratios, tilt and dihedral angles. As Figs. 4b, 4c and 5f."),
            Figure(
                figures["sharing"],
                "Left: neighbors of each bipyramid by vertex and edge sharing. Right: how many of the 12 bipyramids of "
                "an icosahedron there are around an atom. As Figs. 5c and 5g of Yuan et al. (2022).",
            ),
        ),
        (Table(analysis.sharing.table, "Neighbors."), Table(analysis.partial.table, "Partial icosahedra.")),
    )


def _network_section(analysis: PackingAnalysis, figures: Mapping[str, Path]) -> Section:
    rows = [
        (fold, len(networks), networks.sizes.max(initial=0), networks.atom_counts.max(initial=0))
        for fold, networks in analysis.networks.items()
    ]
    by_fold = pd.DataFrame(rows, columns=["fold", "networks", "largest (bipyramids)", "largest (atoms)"])
    tables = [Table(by_fold, "Networks by the fold of their bipyramids.")]
    shown = []
    if "largest_network" in figures:
        shown = [
            Figure(
                figures["largest_network"],
                "The largest network: skeletons of its bipyramids (lines and black dots) and their capping atoms "
                "(brown). As Fig. 5h of Yuan et al. (2022).",
            ),
            Figure(figures["network_sizes"], "Length of the networks against their size."),
        ]
        listed = analysis.networks[5].table.head(_MOST_NETWORKS)
        listed.attrs["units"] = {"size": "bipyramids", "length": "Å"}
        tables.append(Table(listed, "Networks of pentagonal bipyramids; all are in tables/networks_5.csv."))
    return Section(
        "Networks",
        f"Bipyramids that share an edge of their skeletons, {analysis.options.min_size} or more together.",
        tuple(shown),
        tuple(tables),
    )


def _density_section(analysis: PackingAnalysis, figures: Mapping[str, Path]) -> Section:
    vertices = analysis.motifs.tetrahedra.vertices
    contrast = analysis.density.in_tetrahedra(vertices, margin=4.0, atoms=analysis.nuclei.amorphous)
    inside, outside = contrast.means
    rows = [("inside tetrahedra", inside), ("outside", outside), ("gain (%)", 100 * contrast.gain)]
    return Section(
        "Local mass density",
        "Mass over Voronoi volume, interpolated and smoothed by a Gaussian as wide as the first valley of g(r). Points "
        "nearer than 4 Å to the surface are left out of the means, which depend on that choice.",
        (Figure(figures["density"], "A slice through the middle of the model. As Fig. 3b of Yuan et al. (2022)."),),
        (Table(pd.DataFrame(rows, columns=["where", "g/cm³"]), "Mean density of the amorphous part."),),
    )


def _main_figures(analysis: PackingAnalysis) -> dict[str, object]:
    """Pick what is shown first."""
    networks = analysis.networks[5]
    largest = f"{networks.sizes[0]} bipyramids, {networks.atom_counts[0]} atoms" if len(networks) else "none"
    return {
        "Atoms": len(analysis.motifs.model),
        "Crystal nuclei": f"{analysis.nuclei.crystal.mean():.1%} of the atoms",
        "First peak, first valley of g(r)": f"{analysis.distribution.first_peak:.2f}, "
        f"{analysis.distribution.first_valley:.2f} Å",
        "Coordination number (Voronoi)": analysis.voronoi.mean_coordination,
        "Distorted icosahedra": f"{analysis.voronoi.icosahedra_fraction:.1%}",
        "Pentagonal bipyramids": len(analysis.motifs.pentagonal),
        "Mean tilt θ, dihedral angle φ": _angles(analysis),
        "Networks of pentagonal bipyramids": len(networks),
        "Largest network": largest,
    }


def _angles(analysis: PackingAnalysis) -> str:
    theta, phi = analysis.geometry.theta, analysis.geometry.phi
    return "–" if not theta.size else f"{theta.mean():.1f}°, {phi.mean() if phi.size else float('nan'):.1f}°"
