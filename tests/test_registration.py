"""Signal classes are found by HyperSpy, and none takes a name that pyxem owns."""

import contextlib
from importlib import import_module, resources

import hyperspy.api as hs
import numpy as np
import pytest
import yaml

import medrange

# Signal types and aliases that pyxem 0.21 publishes in its hyperspy_extension.yaml.
PYXEM_TYPES = {
    "beam_shift",
    "correlation",
    "crystal_map",
    "diffraction",
    "diffraction_variance",
    "diffraction_vectors",
    "dpc",
    "electron_diffraction",
    "image_variance",
    "insitu_diffraction",
    "labeled_diffraction_vectors",
    "orientation_map",
    "pair_distribution_function",
    "polar_diffraction",
    "polar_vectors",
    "power",
    "reduced_intensity",
    "segments",
    "simulated_segmentation",
    "strain_map",
    "tensor_field",
    "vector_decomposition",
    "virtual_dark_field",
    "vdf_segment",
    "symmetry",
}


def registered(package):
    text = resources.files(package).joinpath("hyperspy_extension.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["signals"]


def names(signals):
    found = {entry["signal_type"] for entry in signals.values()}
    return found | {alias for entry in signals.values() for alias in entry.get("signal_type_aliases", ())}


@pytest.mark.parametrize("name", registered("medrange"))
def test_entry_leads_to_its_class(name):
    entry = registered("medrange")[name]
    cls = getattr(import_module(entry["module"]), name)
    assert cls._signal_type == entry["signal_type"]
    assert cls._lazy == entry["lazy"]
    assert cls._signal_dimension == entry["signal_dimension"]
    assert getattr(medrange, name) is cls


def test_every_class_has_a_lazy_twin():
    signals = registered("medrange")
    for name, entry in signals.items():
        assert entry["lazy"] == name.startswith("Lazy")
        twin = name.removeprefix("Lazy") if entry["lazy"] else f"Lazy{name}"
        assert signals[twin]["signal_type"] == entry["signal_type"]


@pytest.mark.parametrize(
    ("signal_type", "shape"),
    [
        ("nanodiffraction", (2, 2, 4, 4)),
        ("polar_nanodiffraction", (2, 2, 4, 4)),
        ("order_map", (3, 4, 4)),
        ("radial_profile", (2, 2, 9)),
        ("structure_factor", (2, 2, 9)),
        ("reduced_pdf", (2, 2, 9)),
    ],
)
def test_set_signal_type(signal_type, shape):
    base = hs.signals.Signal1D if len(shape) == 3 and signal_type != "order_map" else hs.signals.Signal2D
    signal = base(np.zeros(shape))
    signal.set_signal_type(signal_type)
    assert signal._signal_type == signal_type
    assert signal.as_lazy()._signal_type == signal_type
    assert type(signal).__module__.startswith("medrange.signals")


def test_no_name_of_pyxem_is_taken():
    taken = PYXEM_TYPES
    # Where pyxem is installed its own list counts too.
    with contextlib.suppress(ModuleNotFoundError):
        taken = taken | names(registered("pyxem"))
    assert not names(registered("medrange")) & taken
