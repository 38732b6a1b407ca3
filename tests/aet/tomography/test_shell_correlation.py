import numpy as np
import pytest

from medrange.aet.tomography import Reconstruction, fourier_shell_correlation


def slow_correlation(a, b):
    """The definition on the full complex transforms."""
    first, second = np.fft.fftn(a), np.fft.fftn(b)
    k = np.sqrt(sum(f**2 for f in np.meshgrid(*(np.fft.fftfreq(n) for n in a.shape), indexing="ij")))
    shell = np.rint(k * max(a.shape)).astype(int)
    values, frequencies = [], []
    for number in range(max(a.shape) // 2 + 1):
        inside = shell == number
        cross = (first[inside] * second[inside].conj()).sum().real
        values.append(cross / np.sqrt((abs(first[inside]) ** 2).sum() * (abs(second[inside]) ** 2).sum()))
        frequencies.append(k[inside].mean())
    return frequencies, values


@pytest.mark.parametrize("shape", [(16, 16, 16), (15, 17, 14), (17, 12, 15)])
def test_it_is_the_definition(shape):
    rng = np.random.default_rng(0)
    a = rng.normal(size=shape)
    b = a + rng.normal(size=shape)
    curve = fourier_shell_correlation(a, b)
    frequencies, values = slow_correlation(a, b)
    assert curve.frequency == pytest.approx(np.array(frequencies))
    assert curve.correlation == pytest.approx(np.array(values))
    assert fourier_shell_correlation(b, 3 * a).correlation == pytest.approx(curve.correlation)


def test_noise_follows_the_signal_to_noise_ratio():
    # White signal and noise: the expected correlation of two noisy copies is 1 / (1 + noise / signal).
    rng = np.random.default_rng(1)
    signal = rng.normal(size=(48, 48, 48))
    a, b = (signal + 1.5 * rng.normal(size=signal.shape) for _ in range(2))
    curve = fourier_shell_correlation(a, b)
    expected = 1 / (1 + 1.5**2)
    scatter = 1 / np.sqrt(curve.n_coefficients)
    high = curve.n_coefficients > 100
    assert (np.abs(curve.correlation - expected) < 4 * scatter)[high].all()
    assert np.average(curve.correlation, weights=curve.n_coefficients) == pytest.approx(expected, abs=0.01)


def test_resolution_is_where_the_signal_ends():
    rng = np.random.default_rng(2)
    n = 48
    k = np.sqrt(sum(f**2 for f in np.meshgrid(*(np.fft.fftfreq(n),) * 3, indexing="ij")))
    signal = np.fft.ifftn(np.fft.fftn(rng.normal(size=(n,) * 3)) * (k < 0.25)).real
    a, b = (signal + 0.02 * rng.normal(size=signal.shape) for _ in range(2))
    curve = fourier_shell_correlation(Reconstruction(a, 0.4, [], []), Reconstruction(b, 0.4, [], []))
    assert curve.units == "1/Å"
    # Cut at 0.25 per voxel of 0.4 angstrom: 1.6 angstrom, to the thickness of a shell.
    assert curve.resolution() == pytest.approx(1.6, rel=2 / (0.25 * n))
    assert curve.resolution(0.5) > curve.resolution(0.143)
    assert repr(curve).startswith(f"FourierShellCorrelation(25 shells, 0.143 at {curve.resolution():.3g} Å")
    assert np.isnan(fourier_shell_correlation(a, a).resolution())
    assert list(curve.table.columns) == ["frequency", "correlation", "n_coefficients"]


def test_errors_and_empty_volumes():
    with pytest.raises(ValueError, match="same shape"):
        fourier_shell_correlation(np.ones((4, 4, 4)), np.ones((4, 4, 5)))
    with pytest.raises(ValueError, match="not finite"):
        fourier_shell_correlation(np.ones((4, 4, 4)), np.full((4, 4, 4), np.nan))
    assert np.isnan(fourier_shell_correlation(np.zeros((4, 4, 4)), np.ones((4, 4, 4))).correlation).all()
