"""The peers on the same work: 36 azimuthal dark fields of one ring (what V2D and P_n are made of), all I(k).

Run by `medium_range_order.py --peers PYTHON` and `goals.py --peers FOLDER` in an interpreter that has them; a peer that
is absent is skipped with a note, and `--json` ends with the ratios to `numpy.sum` as one line. Work that loops over
patterns in Python is timed on a part of the scan and scaled.
"""

import json
import sys

import numpy as np
from timing import byte_sum, header, row, seconds, synthetic_scan

SCAN = (64, 64)
CENTER = 63.6
RING = (23.0, 27.0)


def sector_masks(shape):
    y, x = np.indices(shape) - CENTER
    radius, sector = np.hypot(x, y), np.floor(np.arctan2(y, x) % (2 * np.pi) / (2 * np.pi / 36)).astype(int)
    ring = (radius >= RING[0]) & (radius < RING[1])
    masks = np.array([ring & (sector == i) for i in range(36)], np.float32)
    return masks / masks.sum(axis=(1, 2), keepdims=True)


def libertem(data):
    import sparse
    from libertem.api import Context
    from libertem.udf.masks import ApplyMasksUDF

    context = Context.make_with("inline")
    dataset = context.load("memory", data=data, sig_dims=2, num_partitions=4)
    shape = data.shape[2:]
    udf = ApplyMasksUDF(
        mask_factories=lambda: sparse.COO.from_numpy(sector_masks(shape)), mask_count=36, use_sparse="scipy.sparse"
    )

    def variance():
        fields = context.run_udf(dataset=dataset, udf=udf)["intensity"].data
        return fields.var(axis=-1) / fields.mean(axis=-1) ** 2

    yield "LiberTEM: 36 sector masks, V2D (no powers)", seconds(variance, 3), 1


def pyxem(data):
    from pyxem.signals import ElectronDiffraction2D

    signal = ElectronDiffraction2D(data)
    signal.calibration(scale=0.16, center=None)
    arguments = {"npt": 1, "npt_azim": 36, "radial_range": (RING[0] * 0.16, RING[1] * 0.16), "mean": True}

    def variance():
        polar = signal.get_azimuthal_integral2d(**arguments, inplace=False, show_progressbar=False).data[..., 0]
        return polar.var(axis=-1) / polar.mean(axis=-1) ** 2

    yield "pyxem: get_azimuthal_integral2d, 36 x 1, V2D (no powers)", seconds(variance, 2), 1

    def radial():
        return signal.get_azimuthal_integral1d(npt=60, mean=True, inplace=False, show_progressbar=False)

    yield "pyxem: get_azimuthal_integral1d, 60 rings", seconds(radial, 1), 1


def py4dstem(data):
    import py4DSTEM

    part = data[:1, :32]
    cube = py4DSTEM.DataCube(part.copy())
    cube.calibration.set_origin((np.full(part.shape[:2], CENTER), np.full(part.shape[:2], CENTER)))
    polar = py4DSTEM.PolarDatacube(cube, qmin=RING[0], qmax=RING[1], qstep=1.0, n_annular=36)

    def variance():
        out = np.empty(part.shape[:2])
        for y, x in np.ndindex(*part.shape[:2]):
            ring = np.asarray(polar.data[y, x]).mean(axis=1)
            out[y, x] = ring.var() / ring.mean() ** 2
        return out

    yield (
        "py4DSTEM: PolarDatacube one ring, V2D (no powers)",
        seconds(variance, 1),
        data[..., 0, 0].size / part[..., 0, 0].size,
    )


def main():
    data = synthetic_scan(SCAN, (128, 128), np.float32)
    baselines = [seconds(data.sum), seconds(lambda: byte_sum(data))]
    print(header("peers, float32, 128 x 128, scan 64 x 64"))
    print(row("numpy.sum", baselines[0], baselines))
    ratios = []
    for peer in (libertem, pyxem, py4dstem):
        try:
            for name, times, scale in peer(data):
                print(row(name, tuple(scale * t for t in times), baselines), flush=True)
                ratios.append({"what": name, "measured": scale * times[0] / baselines[0][0]})
        except ImportError as error:
            print(f"{peer.__name__}: skipped, {error}")
    if "--json" in sys.argv[1:]:
        print(json.dumps(ratios))


if __name__ == "__main__":
    main()
