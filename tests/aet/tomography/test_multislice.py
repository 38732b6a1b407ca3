"""Multislice images by abTEM: where the atoms are, what is refused, and the whole way to a precision."""

import builtins

import numpy as np
import pytest

from medrange.aet.atoms import AtomicModel
from medrange.aet.tomography import Multislice, PipelineOptions, precision, project_model

FAST = Multislice(energy=200.0, inner=35.0, outer=80.0, sampling=0.1, margin=1.0)
ONE = AtomicModel([[1.2, -0.8, 2.0]], ("Pt",))


def test_missing_abtem_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **keywords):
        if name == "abtem":
            raise ImportError(name)
        return real(name, *args, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install medrange\[abtem\]"):
        FAST(ONE, np.array([0.0]), shape=(8, 8), pixel_size=0.4)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="energy is 0"):
        Multislice(energy=0)
    with pytest.raises(ValueError, match="the detector reaches from 80 to 40 mrad"):
        Multislice(inner=80, outer=40)


def test_atoms_are_where_linear_projections_have_them():
    """An odd and an even size of the image, at zero tilt and turned, with both signs of x and y."""
    pytest.importorskip("abtem")
    angles = np.array([[0.0, 0, 0], [10.0, -40, 0]])
    images = FAST(ONE, angles, shape=(13, 10), pixel_size=0.4)
    linear = project_model(ONE, angles, shape=(13, 10), pixel_size=0.4)
    for image, expected in zip(images, linear, strict=True):
        assert np.unravel_index(image.argmax(), image.shape) == np.unravel_index(expected.argmax(), image.shape)
        # Two symmetric spots of different width at the same place are nearly proportional to each other.
        assert np.corrcoef(image.ravel(), expected.ravel())[0, 1] > 0.9
    assert 0 < images.max() < 1


def test_detector_beyond_the_sampled_angles_is_refused():
    pytest.importorskip("abtem")
    with pytest.raises(ValueError, match=r"a wave sampled every 0.1 Å reaches \d+ mrad, but the detector 200 mrad"):
        Multislice(energy=200.0, outer=200.0, sampling=0.1)(ONE, np.array([0.0]), shape=(8, 8), pixel_size=0.4)
    with pytest.raises(ValueError, match="the model has no symbols"):
        FAST(AtomicModel(ONE.positions), np.array([0.0]), shape=(8, 8), pixel_size=0.4)


@pytest.mark.slow
def test_precision_of_a_small_particle():
    """The recipe: 13 atoms, nine multislice images, the whole procedure."""
    pytest.importorskip("abtem")
    from ase.cluster import Icosahedron

    atoms = Icosahedron("Pt", 2)
    model = AtomicModel(atoms.positions - atoms.positions.mean(axis=0), ("Pt",) * len(atoms))
    options = PipelineOptions(("Pt",), iterations=30, rounds=2, refinement_iterations=15, oversampling=2)
    found = precision(model, np.linspace(-70, 70, 9), pixel_size=0.4, noise=None, simulate=FAST, options=options)
    assert found.matched_fraction > 0.9
    assert found.rmsd < 0.3
