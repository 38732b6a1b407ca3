"""P_n of speckle rings behind a beam stop, against the same rings without one.

    python benchmarks/masks.py            # 3000 rings, speckle of 10 and 20 degrees, stops of 20 and 40
    python benchmarks/masks.py --quick    # 300 rings

Peers read 1.6 to 3.3 times too high here, with a correlation of 0.45 to 0.65.
"""

import argparse

import numpy as np

from medrange.kernels.angular import angular_power

N_PHI = 180
ORDERS = slice(1, 10)  # n = 2 .. 10 of n = 1, 2, ...


def speckle_rings(n_rings, fwhm, seed=1):
    """Intensities (n_rings, 180) of complex Gaussian noise, correlated over ``fwhm`` degrees."""
    rng = np.random.default_rng(seed)
    sigma = fwhm * N_PHI / 360 / 2.355
    kernel = np.exp(-2 * (np.pi * sigma * np.fft.fftfreq(N_PHI)) ** 2)
    noise = rng.normal(size=(n_rings, N_PHI)) + 1j * rng.normal(size=(n_rings, N_PHI))
    return np.abs(np.fft.ifft(np.fft.fft(noise) * kernel)) ** 2


def masked_powers(n_rings, gap, fwhm=20):
    """Mean over truth, and mean correlation with the truth, of P_2..10 behind a gap of so many degrees."""
    rings = speckle_rings(n_rings, fwhm)
    shut = rings.copy()
    shut[:, : gap * N_PHI // 360] = np.nan
    power, truth = angular_power(shut)[:, ORDERS], angular_power(rings)[:, ORDERS]
    correlation = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(power.T, truth.T, strict=True)])
    return power.mean() / truth.mean(), correlation


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="300 rings")
    n_rings = 300 if parser.parse_args().quick else 3000
    print("speckle, stop (degrees): mean / truth, correlation")
    for fwhm in (10, 20):
        for gap in (20, 40):
            mean, correlation = masked_powers(n_rings, gap, fwhm)
            print(f"{fwhm:3d}, {gap:3d}: {mean:.3f}, {correlation:.3f}")


if __name__ == "__main__":
    main()
