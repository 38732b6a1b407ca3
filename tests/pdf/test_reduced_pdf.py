"""G(r): closed forms first (dimer, crystal, hard-sphere liquid), then exact models, backgrounds, windows, errors."""

import numpy as np
import pytest
from scipy.integrate import quad

from medrange.pdf.composition import mean_factors
from medrange.pdf.pair_distribution import coordination_number, density_slope, pair_distribution
from medrange.pdf.peaks import find_peak, find_second_peaks
from medrange.pdf.reduced_pdf import convergence_damping, reduced_pdf, transform_matrix, window_values
from medrange.pdf.structure_factor import Reduction, structure_factors

R = np.arange(1, 1201) * 0.01
K = np.arange(1, 521) * 0.005


def sphere_structure_factor(positions, centers, radius, k, bin_width=0.005):
    """S(k) of a sphere of atoms by Debye's sum less the shape term, from exact pair distances in fine bins.

    Returns S(k), the centers of the bins, the pairs per atom in them, and what a uniform density would give.
    """
    edges = np.arange(int(np.ceil(2 * radius / bin_width)) + 1) * bin_width
    pairs, atoms = np.zeros(edges.size - 1), 0
    for center in centers:
        inside = positions[((positions - center) ** 2).sum(axis=1) <= radius**2]
        distances = np.sqrt(((inside[:, None] - inside[None]) ** 2).sum(axis=-1))[np.triu_indices(len(inside), 1)]
        pairs += np.histogram(distances, edges)[0]
        atoms += len(inside)
    r = (edges[:-1] + edges[1:]) / 2
    overlap = 1 - 3 * r / (4 * radius) + r**3 / (16 * radius**3)
    density = atoms / len(centers) / (4 / 3 * np.pi * radius**3)
    uniform = 4 * np.pi * r**2 * density * overlap * bin_width
    found = 2 * pairs / atoms
    return 1 + np.sinc(2 * np.outer(k, r)) @ (found - uniform), r, found, uniform


@pytest.fixture(scope="module")
def glass():
    """Spheres of 1006 atoms, on average, of a relaxed random packing with thermal motion."""
    from medrange.simulate import glass_with_clusters

    model = glass_with_clusters((44.0, 44.0, 44.0), element="Ta", min_distance=2.8, density=0.0549, seed=1)
    rng = np.random.default_rng(0)
    positions = model.positions + rng.normal(0, 0.1, (len(model), 3))
    centers = 22 + rng.uniform(-4, 4, (8, 3))
    return sphere_structure_factor(positions, centers, 16.5, K)


def intensity(structure_factor, k, composition, dose=1000.0):
    """I(k) = dose (<f^2> + <f>^2 (S - 1))."""
    mean, mean_square = mean_factors(composition, k)
    return dose * (mean_square + mean**2 * (structure_factor - 1))


def plural_scattering(profile, k, order):
    """Self-convolution of order ``order`` of a two-dimensional pattern with this radial profile, at k."""
    size, step = 512, 2.6 / 200
    grid = np.fft.fftfreq(size, 1 / size) * step
    radius = np.hypot(grid[:, None], grid)
    pattern = np.interp(radius, k, profile, right=0.0)
    spectrum = np.fft.fft2(pattern)
    folded = np.fft.ifft2(spectrum**order).real
    return np.interp(k, grid[: size // 2], folded[0, : size // 2])


@pytest.mark.parametrize("d", [2.2, 2.5, 4.7])
def test_dimer_in_closed_form(d):
    k = np.linspace(0, 1.6, 1601)[1:]
    g = reduced_pdf(1 + np.sinc(2 * k * d), k, R)
    q = 2 * np.pi * 1.6
    low, high = (q / np.pi * np.sinc(q * (R - s * d) / np.pi) for s in (1, -1))
    np.testing.assert_allclose(g, (low - high) / d, atol=2e-4 * g.max())


def test_dimer_has_one_neighbor():
    k = np.linspace(0, 40, 8001)[1:]
    r = np.arange(1, 1001) * 0.005
    g = reduced_pdf(1 + np.sinc(2 * k * 2.5), k, r, window="lorch")
    assert (r * g).sum() * 0.005 == pytest.approx(1, abs=0.01)


def test_prefactor_by_quadrature():
    # (2/pi) int Q (S - 1) sin(Q r) dQ with Q = 2 pi k, by an adaptive rule.
    def factor(q):
        return 1 + 0.8 * np.exp(-(((q - 3.0) / 0.6) ** 2)) - 0.3 * np.exp(-(((q - 5.0) / 0.8) ** 2))

    k = np.linspace(0, 1.6, 801)[1:]
    r = np.array([1.1, 2.5, 4.4])
    g = reduced_pdf(factor(2 * np.pi * k), k, r)
    for value, distance in zip(g, r, strict=True):
        expected = quad(lambda q, x=distance: q * (factor(q) - 1) * np.sin(q * x), 0, 2 * np.pi * 1.6, limit=200)[0]
        assert value == pytest.approx(2 / np.pi * expected, abs=1e-4)


def crystal_phi(k, shells, spread):
    """Phi of shells of n atoms at r, smeared by a Gaussian; the uniform density shows at k = 0 only."""
    damping = np.exp(-2 * np.pi**2 * spread**2 * k**2)
    return sum(n * np.sin(2 * np.pi * k * r) / (2 * np.pi * r) for n, r in shells) * damping


@pytest.mark.parametrize(
    ("shells", "density", "limits", "neighbors"),
    [
        ([(6, 1), (12, 2**0.5), (8, 3**0.5), (6, 2), (24, 5**0.5)], 1 / 2.8**3, (2.4, 3.3), 6),
        ([(12, 1), (6, 2**0.5), (24, 3**0.5), (12, 2)], 2**0.5 / 2.8**3, (2.3, 3.3), 12),
    ],
    ids=["simple cubic", "face-centered cubic"],
)
def test_crystal_shells(shells, density, limits, neighbors):
    shells = [(n, 2.8 * r) for n, r in shells]
    k = np.arange(1, 1001) * 0.006
    g = reduced_pdf(1 + crystal_phi(k, shells, 0.08) / k, k, R) - 4 * np.pi * density * R
    for _, radius in shells:
        near = find_peak(g, R, (radius - 0.3, radius + 0.3))
        # The slope of the uniform density and the foot of a neighbor move a peak of G by less than 0.002.
        assert near.position == pytest.approx(radius, abs=2e-3)
    counted = coordination_number(g, R, density=density, shell=limits)
    assert counted == pytest.approx(neighbors, abs=0.01)
    assert coordination_number(g, R, density=density, r_range=(1.5, 3.3)) == pytest.approx(neighbors, abs=0.05)
    np.testing.assert_allclose(pair_distribution(g, R, density=density)[(R > 1) & (R < 2.3)], 0, atol=0.02)
    assert density_slope(g, R, r_range=(1.5, 3.3)) == pytest.approx(-4 * np.pi * density, rel=0.02)
    scaled = coordination_number(3 * g, R, density=density, shell=limits, use_density_line=True)
    assert scaled == pytest.approx(neighbors, rel=0.02)


def percus_yevick(k, diameter, packing):
    """S(k) of hard spheres (Percus-Yevick), and g(r) of its first shell (Smith and Henderson)."""
    x = 2 * np.pi * k * diameter
    a = (1 + 2 * packing) ** 2 / (1 - packing) ** 4
    b = -6 * packing * (1 + packing / 2) ** 2 / (1 - packing) ** 4
    c = packing * a / 2
    g = a * (np.sin(x) - x * np.cos(x)) / x**2
    g += b * (2 * x * np.sin(x) + (2 - x**2) * np.cos(x) - 2) / x**3
    g += c * (-(x**4) * np.cos(x) + 4 * ((3 * x**2 - 6) * np.cos(x) + (x**3 - 6 * x) * np.sin(x) + 6)) / x**5
    factor = 1 / (1 + 24 * packing * g / x)

    def first_shell(r):
        s = [(1 - packing) ** 2, 6 * packing * (1 - packing), 18 * packing**2, -12 * packing * (1 + 2 * packing)]
        t = np.roots(s)
        amplitude = t * ((1 + packing / 2) * t + 1 + 2 * packing) / np.polyval(np.polyder(s), t)
        y = r[:, None] / diameter
        return (amplitude * np.exp(t * (y - 1))).sum(axis=1).real / y[:, 0]

    return factor, first_shell


def test_hard_sphere_liquid():
    diameter, packing = 2.5, 0.45
    density = 6 * packing / (np.pi * diameter**3)
    k = np.arange(1, 4001) * 0.005
    factor, first_shell = percus_yevick(k, diameter, packing)
    g = pair_distribution(reduced_pdf(factor, k, R, window="lorch"), R, density=density)
    # Resolution 0.87/20 angstrom: the jump at contact is over within 0.1 angstrom.
    inside = (R > 0.8) & (diameter - 0.1 > R)
    np.testing.assert_allclose(g[inside], 0, atol=0.02)
    shell = (diameter + 0.1 < R) & (2 * diameter - 0.1 > R)
    np.testing.assert_allclose(g[shell], first_shell(R[shell]), atol=0.02)
    assert first_shell(np.array([diameter]))[0] == pytest.approx((1 + packing / 2) / (1 - packing) ** 2)


def chain(factor, k, *, k_range, degree=4, window=None, extend=True, extra=0.0):
    profile = intensity(factor, k, "Ta") + extra
    reduction = Reduction(k_range=k_range, polynomial_degree=degree)
    result = structure_factors(profile, k, "Ta", reduction=reduction)
    return reduced_pdf(result.values, result.k, R, window=window, extend=extend)


def exact_chain(glass, k, *, k_range, degree, window):
    """The same by another way: pairs are summed in r as integrals in closed form, the rest with plain numpy."""
    factor, r_pairs, found, uniform = glass
    inside = (k > k_range[0] - 1e-9) & (k < k_range[1] + 1e-9)
    kk = k[inside]
    x = 2 * np.pi * kk[:, None] * r_pairs
    phi = kk * ((np.sin(x) / x) @ (found - uniform))
    tail = kk >= k_range[1] - 0.15 * (k_range[1] - k_range[0]) - 1e-9
    profile = intensity(factor, k, "Ta")[inside]
    square = intensity(np.ones(kk.size), kk, "Ta", dose=1.0)
    norm = (profile[tail] @ square[tail]) / (square[tail] @ square[tail])
    phi = (1000 * (kk + phi) - norm * kk) / norm
    if degree is not None:
        phi -= np.polynomial.Polynomial.fit(kk, phi, degree)(kk)
    if window == "lorch":
        phi *= np.sinc(kk / kk[-1])
    fine = np.linspace(kk[0], kk[-1], 4001)
    curve = np.interp(fine, kk, phi)
    return 8 * np.pi * np.array([np.sum(curve * np.sin(2 * np.pi * fine * x)) * (fine[1] - fine[0]) for x in R])


@pytest.mark.parametrize(
    ("k_range", "degree", "window"),
    [((0.25, 1.6), None, None), ((0.25, 1.6), 4, None), ((0.25, 1.6), 4, "lorch"), ((0.25, 2.4), 4, None)],
)
def test_glass_against_an_independent_chain(glass, k_range, degree, window):
    g = chain(glass[0], K, k_range=k_range, degree=degree, window=window, extend=False)
    expected = exact_chain(glass, K, k_range=k_range, degree=degree, window=window)
    assert find_peak(g, R).position == pytest.approx(find_peak(expected, R).position, abs=0.01)
    assert find_peak(g, R).fwhm == pytest.approx(find_peak(expected, R).fwhm, abs=0.01)
    second, _ = find_second_peaks(g, R, find_peak(g, R).position)
    other, _ = find_second_peaks(expected, R, find_peak(expected, R).position)
    assert second.position == pytest.approx(other.position, abs=0.01)
    # The reference samples phi linearly between its points, which damps G a little towards large r.
    assert np.abs(g - expected)[R < 6].max() < 0.02 * expected.max()


def test_biases_of_a_limited_k_range(glass):
    """What section 4 of the specification found of another model: the k range moves R1 outwards, Lorch more so."""
    _, r_pairs, found, uniform = glass
    # The truth, smeared by 0.03 angstrom against the noise of counting pairs.
    kernel = np.exp(-0.5 * (np.arange(-30, 31) * 0.005 / 0.03) ** 2)
    density = uniform / (4 * np.pi * r_pairs**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        true = np.convolve((found - uniform) / r_pairs, kernel / kernel.sum(), "same") / 0.005
    truth = find_peak(true, r_pairs)
    assert density[0] / 0.005 == pytest.approx(0.0535, abs=0.002)
    wide = find_peak(chain(glass[0], K, k_range=(0.005, 2.6), degree=None), R)
    usual = find_peak(chain(glass[0], K, k_range=(0.25, 1.6)), R)
    lorch = find_peak(chain(glass[0], K, k_range=(0.25, 1.6), window="lorch"), R)
    assert 0 < wide.position - truth.position < 0.02
    assert truth.position < usual.position < lorch.position < truth.position + 0.1
    assert wide.height > usual.height > lorch.height
    assert truth.fwhm < usual.fwhm < lorch.fwhm


def test_polynomial_takes_the_density_line(glass):
    below = R < 1.5
    slopes = {
        degree: -(R[below] @ chain(glass[0], K, k_range=(0.25, 1.6), degree=degree)[below]) / (R[below] @ R[below])
        for degree in (None, 4)
    }
    assert slopes[None] / (4 * np.pi) == pytest.approx(0.0535, rel=0.2)
    assert abs(slopes[4] / (4 * np.pi)) < 0.02


def test_smooth_background_moves_nothing(glass):
    background = intensity(np.ones(K.size), K, "Ta") * (0.5 * np.exp(-K / 0.4) + 0.2 / (1 + (K / 0.8) ** 2))
    curves = [chain(glass[0], K, k_range=(0.25, 1.6), extra=x * background) for x in range(6)]
    peaks = [find_peak(g, R) for g in curves]
    far = R >= 2
    for g, peak in zip(curves, peaks, strict=True):
        assert peak.position == pytest.approx(peaks[0].position, abs=0.002)
        assert np.corrcoef(g[far] / peak.height, curves[0][far] / peaks[0].height)[0, 1] > 0.9998
    # The amplitude is not invariant: N takes up the background.
    assert peaks[-1].height < 0.9 * peaks[0].height
    # Without a polynomial the background moves the peak.
    bare = [find_peak(chain(glass[0], K, k_range=(0.25, 1.6), degree=None, extra=x * background), R) for x in (0, 5)]
    assert abs(bare[1].position - bare[0].position) > 0.004


def test_double_scattering_moves_little(glass):
    """A self-convolved pattern is not quite a polynomial: its own weak rings move R1 by some 0.01 angstrom."""
    coherent = intensity(glass[0], K, "Ta")
    double = plural_scattering(coherent, K, 2)
    double *= coherent[K > 0.25].sum() / double[K > 0.25].sum()
    alone, half = (find_peak(chain(glass[0], K, k_range=(0.25, 1.6), extra=x * double), R) for x in (0, 0.5))
    assert half.position == pytest.approx(alone.position, abs=0.01)
    assert half.height < 0.6 * alone.height


def test_windows():
    k = np.array([0.0, 0.4, 0.8, 1.6])
    np.testing.assert_allclose(window_values(k, None, k_max=1.6), 1)
    np.testing.assert_allclose(window_values(k, "lorch", k_max=1.6), [1, 0.900316, 0.63662, 0], atol=1e-6)
    np.testing.assert_allclose(window_values(k, "exponential", k_max=1.6, decay=0.5), np.exp(-0.5 * k**2))


@pytest.mark.parametrize(("window", "width"), [(None, 0.605), ("lorch", 0.866)])
def test_resolution(window, width):
    # 3.80/Q_max and 5.44/Q_max: the width of a pair at a distance large against it.
    k = np.linspace(0, 1.6, 3201)[1:]
    peak = find_peak(reduced_pdf(1 + np.sinc(2 * k * 8), k, R, window=window), R, (7, 9))
    assert peak.fwhm * 1.6 == pytest.approx(width, abs=0.01)


def test_extension_to_zero():
    # phi = c k throughout: the line is what is missing, so that the integral from 0 is complete.
    k = np.linspace(0.25, 1.6, 541)
    r = np.array([0.5, 2.0, 5.0])
    x = 2 * np.pi * r
    exact = 8 * np.pi * (np.sin(1.6 * x) / x**2 - 1.6 * np.cos(1.6 * x) / x)
    np.testing.assert_allclose(reduced_pdf(np.full(k.size, 2.0), k, r), exact, rtol=1e-3)
    missing = 8 * np.pi * (np.sin(0.25 * x) / x**2 - 0.25 * np.cos(0.25 * x) / x)
    np.testing.assert_allclose(reduced_pdf(np.full(k.size, 2.0), k, r, extend=False), exact - missing, rtol=1e-3)


def test_convergence_is_undone():
    # The disk smears the 2-D pattern of a dimer; r well above the size of the disk, where the Debye ring is flat.
    aperture = 0.02
    k = np.arange(1, 641) * 0.0025
    angle = (np.arange(64) + 0.5) * np.pi / 64
    rho = aperture * np.sqrt((np.arange(40) + 0.5) / 40)
    d = 5.0
    rho = rho[:, None]
    smeared = [np.mean(np.sinc(2 * d * np.sqrt(x**2 + rho**2 + 2 * x * rho * np.cos(angle)))) for x in k]
    smeared = np.array(smeared)
    plain, damped = (reduced_pdf(1 + s, k, R)[400:600].max() for s in (np.sinc(2 * k * d), smeared))
    undone = reduced_pdf(1 + smeared, k, R, k_aperture=aperture)[400:600].max()
    assert damped / plain == pytest.approx(convergence_damping(np.array([d]), aperture)[0], abs=0.01)
    assert undone / plain == pytest.approx(1, abs=0.01)
    far = convergence_damping(np.array([16.0, 100.0]), aperture)
    np.testing.assert_allclose(far, 0.6068, atol=1e-3)


def test_scan_at_once():
    rng = np.random.default_rng(0)
    k = np.linspace(0.25, 1.6, 100)
    factors = 1 + 0.1 * rng.standard_normal((3, 4, 100))
    before = factors.copy()
    together = reduced_pdf(factors, k, R)
    assert together.shape == (3, 4, R.size)
    np.testing.assert_allclose(together[1, 2], reduced_pdf(factors[1, 2], k, R), atol=1e-12)
    np.testing.assert_array_equal(factors, before)
    single = reduced_pdf(factors.astype(np.float32), k, R)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, together, atol=2e-6 * np.abs(together).max())
    np.testing.assert_allclose((k * (factors - 1)) @ transform_matrix(k, R), together, atol=1e-12)


def test_wrong_arguments():
    k = np.linspace(0.25, 1.6, 100)
    with pytest.raises(ValueError, match="None, 'lorch', 'exponential'"):
        reduced_pdf(np.ones(100), k, R, window="hann")
    with pytest.raises(ValueError, match=r"1/\(2 dk\) = 36.67"):
        reduced_pdf(np.ones(100), k, np.arange(0, 40, 0.1))
    with pytest.raises(ValueError, match="last axis must have the 100 points"):
        reduced_pdf(np.ones(99), k, R)
    with pytest.raises(ValueError, match="decay is -1"):
        reduced_pdf(np.ones(100), k, R, window="exponential", decay=-1)
    with pytest.raises(ValueError, match="k_aperture is 0"):
        reduced_pdf(np.ones(100), k, R, k_aperture=0)
