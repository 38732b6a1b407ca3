from types import SimpleNamespace

import ase
import numpy as np
import pytest
from ase.build import bulk

from medrange.aet.atoms import bond_order, mass_density, pair_distribution
from medrange.plotting import plot_bond_order, plot_density_slice, plot_interface, plot_pair_distribution


@pytest.fixture(scope="module")
def alloy():
    rng = np.random.default_rng(0)
    positions = 3.0 * np.indices((7, 7, 7)).reshape(3, -1).T + rng.normal(0, 0.2, (343, 3))
    return ase.Atoms(rng.choice(["Cu", "Zr"], 343), positions=positions, cell=[21.0] * 3, pbc=True)


def test_pair_distribution_draws_g_and_its_valley(alloy):
    curve = pair_distribution(alloy, r_max=9.0, partial=True)
    ax = plot_pair_distribution(curve)
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_array_equal(lines["all pairs"].get_ydata(), curve.g)
    np.testing.assert_array_equal(lines["Cu-Zr"].get_ydata(), curve.partial["Cu", "Zr"])
    assert lines[f"first valley {curve.first_valley:.2f} Å"].get_xdata()[0] == curve.first_valley
    assert ax.get_xlabel() == "r (Å)"
    assert curve.plot(ax=ax) is ax


def test_bond_order_counts_every_atom(alloy):
    order = bond_order(alloy, cutoff=4.0)
    ax = order.plot()
    assert np.ma.filled(ax.collections[0].get_array(), 0).sum() == len(alloy)
    assert {text.get_text() for text in ax.texts} == {"fcc", "hcp", "bcc"}
    assert plot_bond_order(order, ax=ax) is ax


def test_interface_draws_profile_and_fit():
    profile = SimpleNamespace(
        distances=np.arange(5.0),
        order=np.linspace(0.5, 0.2, 5),
        spread=np.full(5, 0.1),
        counts=np.full(5, 25),
        parameters={"window": (0.5, 4.0)},
        width=3.04,
        width_error=0.21,
        fit=lambda x: 0.3 * np.exp(-x / 3) + 0.2,
    )
    ax = plot_interface(profile)
    fit = next(line for line in ax.get_lines() if "width 3.0 ± 0.2 Å" in str(line.get_label()))
    np.testing.assert_allclose(fit.get_ydata(), profile.fit(fit.get_xdata()))
    np.testing.assert_allclose(ax.containers[0].lines[0].get_ydata(), profile.order)


def test_density_slice_is_the_plane_asked_for():
    density = mass_density(bulk("Cu", cubic=True).repeat(3), fwhm=3.0)
    z = density.grid.origin[2] + 3 * density.grid.step
    ax = density.plot(z=z)
    np.testing.assert_array_equal(ax.images[0].get_array().filled(np.nan), density.density[:, :, 3].T)
    with pytest.raises(ValueError, match="the grid runs from"):
        plot_density_slice(density, z=1e3)
