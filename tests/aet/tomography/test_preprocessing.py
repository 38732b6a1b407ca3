"""Drift, noise, denoising and background: what was planted is found again."""

import numpy as np
import pytest

from medrange.aet.tomography.background import laplace_background, object_mask
from medrange.aet.tomography.denoising import denoise, tune_denoising
from medrange.aet.tomography.drift import correct_drift, frame_shifts
from medrange.aet.tomography.noise import NoiseParameters, noise_parameters

SIZE = 160


def atoms_image(seed=0, size=SIZE, count=350, width=2.2, margin=30):
    """Function (x, y) -> brightness of a patch of atoms, exact at any position."""
    rng = np.random.default_rng(seed)
    centers = rng.uniform(margin, size - margin, (count, 2))
    heights = rng.uniform(0.5, 1.5, count)

    def brightness(x, y):
        image = np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)))
        for (a, b), height in zip(centers, heights, strict=True):
            image += height * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * width**2))
        return image

    return brightness


def drifting_frames(brightness, drift, n_frames=3, size=SIZE, slow_axis=1):
    """Frames recorded line by line while the sample drifts, by what is defined: every pixel at its own time."""
    x, y = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    slow = (x, y)[slow_axis]
    frames = []
    for frame in range(n_frames):
        time = frame - (n_frames - 1) / 2 + (slow - (size - 1) / 2) / size
        frames.append(brightness(x - drift[0] * time, y - drift[1] * time))
    return np.stack(frames)


@pytest.mark.parametrize("slow_axis", [0, 1])
def test_drift_and_shear_are_taken_out(slow_axis):
    brightness, drift = atoms_image(), np.array([2.37, -1.62])
    frames = drifting_frames(brightness, drift, slow_axis=slow_axis)
    found = correct_drift(frames, slow_axis=slow_axis)
    np.testing.assert_allclose(found.drift_per_frame, drift, atol=0.05)
    np.testing.assert_allclose(found.shifts, np.outer([-1, 0, 1], drift), atol=0.05)
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    truth = brightness(x, y)
    inner = (slice(10, -10),) * 2
    assert np.abs(found.image - truth)[inner].max() < 0.02 * truth.max()
    # Shifts alone leave the shear: the middle frame is not the truth.
    assert np.abs(frames[1] - truth)[inner].max() > 0.1 * truth.max()
    assert found.residual < 0.03
    assert "3 frames" in repr(found)


def test_shifts_of_noisy_frames_are_good_to_a_twentieth_of_a_pixel():
    rng = np.random.default_rng(1)
    brightness = atoms_image(2)
    planted = np.array([[0.0, 0.0], [1.31, -0.62], [-2.18, 0.47]])
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    frames = np.stack([rng.poisson(20 * brightness(x - a, y - b)) for a, b in planted])
    before = frames.copy()
    np.testing.assert_allclose(frame_shifts(frames), planted - planted.mean(axis=0), atol=0.05)
    np.testing.assert_array_equal(frames, before)


def test_single_frame_has_no_drift():
    frame = atoms_image()(*np.meshgrid(np.arange(64), np.arange(64), indexing="ij"))
    found = correct_drift(frame[None])
    np.testing.assert_allclose(found.image, frame, atol=1e-9)
    assert found.shifts.tolist() == [[0, 0]]


def test_pixels_no_frame_saw_are_nan():
    frames = drifting_frames(atoms_image(), np.array([8.0, 0.0]), n_frames=2)
    image = correct_drift(frames).image
    assert np.isfinite(image[20:-20, 20:-20]).all()
    assert np.isnan(correct_drift(frames[:1] * 1.0).image).sum() == 0


def test_noise_parameters_within_five_percent():
    brightness = atoms_image(3)
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    noise = NoiseParameters(gain=3.0, variance=50.0)
    frames = np.stack(
        [noise.add_to(60 * brightness(x - s, y + s / 2), seed=seed) for seed, s in enumerate((0, 0.8, -1.3))]
    )
    found = noise_parameters(frames)
    assert found.gain == pytest.approx(3.0, rel=0.05)
    assert found.variance == pytest.approx(50.0, rel=0.05)


def test_stabilized_noise_has_variance_one_and_the_inverse_no_bias():
    noise = NoiseParameters(gain=2.0, variance=9.0)
    for signal in (40.0, 200.0, 1000.0):
        noisy = noise.add_to(np.full(200_000, signal), seed=4)
        stabilized = noise.stabilize(noisy)
        assert stabilized.var() == pytest.approx(1, abs=0.03)
        assert noise.unstabilize(stabilized.mean()) == pytest.approx(signal, rel=0.005)
    assert noise.of_signal(np.array([0.0, 10.0])).tolist() == [9.0, 29.0]


@pytest.mark.parametrize("method", ["non_local_means", "total_variation", "wavelet"])
def test_denoising_tuned_on_one_image_helps_on_another(method):
    x, y = np.meshgrid(np.arange(96), np.arange(96), indexing="ij")
    noise = NoiseParameters(gain=1.0, variance=4.0)
    simulated, truth = (20 * atoms_image(seed, size=96, count=150, width=3, margin=15)(x, y) for seed in (5, 6))
    tuning = tune_denoising(simulated, noise, method=method, strengths=(0.35, 0.7, 1.0, 1.4))
    noisy = noise.add_to(truth, seed=7)
    denoised = denoise(noisy, noise, method=method, strength=tuning.best)
    before, after = (np.sqrt(np.mean((image - truth) ** 2)) for image in (noisy, denoised))
    assert after < 0.6 * before
    assert list(tuning.table.columns) == ["strength", "error"]
    assert f"{tuning.best:g}" in repr(tuning)


def test_denoiser_of_the_user_sees_noise_of_one():
    seen = {}

    def mine(image, strength):
        seen["std"], seen["strength"] = image.std(), strength
        return np.full_like(image, image.mean())

    noise = NoiseParameters(gain=1.0, variance=4.0)
    result = denoise(noise.add_to(np.full((200, 200), 100.0)), noise, method=mine, strength=1.5)
    assert seen == {"std": pytest.approx(1, abs=0.05), "strength": 1.5}
    np.testing.assert_allclose(result, 100, rtol=0.01)


def test_background_under_the_object_within_two_percent():
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    # Harmonic to a good approximation over the object, as a carbon film of slowly varying thickness.
    background = 100 + 0.15 * x - 0.1 * y + 8 * np.sin(x / 60) * np.cosh((y - 80) / 60)
    rng = np.random.default_rng(8)
    thing = 60 * atoms_image(9, margin=55, count=200)(x, y)
    image = background + thing + rng.normal(0, 1, x.shape)
    mask = object_mask(image, margin=14)
    assert mask[thing > 1].all()
    found = laplace_background(image, mask)
    assert np.abs(found / background - 1)[mask].max() < 0.02


def test_laplace_solution_is_the_mean_of_its_neighbors():
    rng = np.random.default_rng(10)
    image = rng.normal(size=(20, 24))
    mask = np.zeros(image.shape, bool)
    mask[5:12, 6:20] = True
    found = laplace_background(image, mask, smoothing=0)
    np.testing.assert_array_equal(found[~mask], image[~mask])
    mean = sum(np.roll(found, shift, axis) for shift in (1, -1) for axis in (0, 1)) / 4
    np.testing.assert_allclose(found[mask], mean[mask], atol=1e-12)
    # At the rim of the image a mask may reach the edge.
    mask[:12, :4] = True
    assert np.isfinite(laplace_background(image, mask)).all()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: frame_shifts(np.zeros((4, 4))), r"shape \(4, 4\); expected \(n_frames"),
        (lambda: frame_shifts(np.full((2, 4, 4), np.nan)), "32 pixels of the frames are not finite"),
        (lambda: frame_shifts(np.zeros((2, 4, 4)), precision=2), "precision is 2 pixels"),
        (lambda: correct_drift(np.zeros((2, 4, 4)), slow_axis=2), "slow_axis is 2"),
        (lambda: noise_parameters(np.zeros((1, 8, 8))), "at least two frames"),
        (lambda: denoise(np.zeros(4), NoiseParameters(1, 1)), r"shape \(4,\)"),
        (lambda: denoise(np.zeros((4, 4)), NoiseParameters(1, 1), strength=0), "strength is 0"),
        (lambda: denoise(np.zeros((4, 4)), NoiseParameters(1, 1), method="bm3d"), "expected one of non_local_means"),
        (lambda: object_mask(np.zeros((8, 8)), threshold=1), "finds no object"),
        (lambda: laplace_background(np.zeros((8, 8)), np.zeros((8, 8))), "must be boolean"),
        (lambda: laplace_background(np.zeros((8, 8)), np.ones((8, 8), bool)), "no background is left"),
    ],
)
def test_errors_name_value_and_remedy(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_frames_of_different_areas_are_refused():
    frames = drifting_frames(atoms_image(), np.array([0.0, 0.0]), n_frames=2)
    with pytest.raises(ValueError, match="more than 40"):
        correct_drift(np.stack([np.roll(frames[0], -30, axis=0), np.roll(frames[0], 30, axis=0)]))


def test_variance_that_falls_is_refused():
    x = np.linspace(1, 100, 128)[:, None] * np.ones(128)
    rng = np.random.default_rng(0)
    frames = x + rng.normal(size=(3, 128, 128)) * (120 - x)
    with pytest.raises(ValueError, match="variance falls with the signal"):
        noise_parameters(frames)
