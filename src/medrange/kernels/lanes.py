"""Sixteen patterns side by side: the memory layout under the polar kernels.

A block of 16 frames is laid out so that the 16 values of one pixel are neighbors in memory. A sparse
row is then applied to all 16 at once with vector instructions. The vector code is written out with
LLVM types, because the compiler's own vectorizer misses loops this short.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

#: Frames handled side by side; one AVX-512 or two AVX2 registers of float32.
LANES = 16
#: Products and sums may fuse, but are never reordered: results do not depend on the machine's width.
FAST = {"contract", "nsz"}

_INDEX = ir.IntType(64)


def _lane_pointer(builder: ir.IRBuilder, array: object, row: ir.Value, vector: ir.VectorType) -> ir.Value:
    start = builder.gep(array.data, [builder.mul(row, ir.Constant(_INDEX, LANES))])
    return builder.bitcast(start, vector.as_pointer())


def _broadcast(builder: ir.IRBuilder, value: ir.Value, vector: ir.VectorType) -> ir.Value:
    undefined = ir.Constant(vector, ir.Undefined)
    int32 = ir.IntType(32)
    single = builder.insert_element(undefined, value, ir.Constant(int32, 0))
    zeros = ir.Constant(ir.VectorType(int32, LANES), [0] * LANES)
    return builder.shuffle_vector(single, undefined, zeros)


@intrinsic
def add_row(typingctx, lanes, columns, weights, start, stop, out, row):  # noqa: ANN001, ANN201
    """``out[row, :] = sum_j weights[j] * lanes[columns[j], :]`` for j in start..stop, over all lanes.

    ``lanes`` and ``out`` are C-ordered arrays of shape (n, LANES) and of the type of ``weights``.
    """
    signature = types.void(lanes, columns, weights, types.intp, types.intp, out, types.intp)

    def codegen(context, builder, signature, args):  # noqa: ANN001, ANN202
        def array(position: int) -> object:
            kind = signature.args[position]
            return cgutils.create_struct_proxy(kind)(context, builder, value=args[position])

        source, index, weight, target = array(0), array(1), array(2), array(5)
        vector = ir.VectorType(context.get_value_type(signature.args[0].dtype), LANES)
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * LANES))
        one = ir.Constant(_INDEX, 1)
        with cgutils.for_range_slice(builder, args[3], args[4], one, _INDEX) as (j, _):
            column = builder.zext(builder.load(builder.gep(index.data, [j])), _INDEX)
            values = builder.load(_lane_pointer(builder, source, column, vector))
            values.align = 4
            factor = _broadcast(builder, builder.load(builder.gep(weight.data, [j])), vector)
            product = builder.fmul(values, factor, flags=("contract",))
            builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
        stored = builder.store(builder.load(total), _lane_pointer(builder, target, args[6], vector))
        stored.align = 4
        return context.get_dummy_value()

    return signature, codegen


@njit(nogil=True, fastmath=FAST, cache=True)
def fill_lanes(frames: np.ndarray, first: int, count: int, pixels: np.ndarray, lanes: np.ndarray) -> None:
    """Copy ``pixels`` of frames ``first .. first + count`` into ``lanes`` (n_pixels, LANES).

    Eight frames are read together: their cache misses overlap, and the target line is written once.
    Unused lanes repeat the first frame, so that no lane ever holds rubbish.
    """
    whole = count // 8 * 8
    for lane in range(0, whole, 8):
        a, b = frames[first + lane], frames[first + lane + 1]
        c, d = frames[first + lane + 2], frames[first + lane + 3]
        e, f = frames[first + lane + 4], frames[first + lane + 5]
        g, h = frames[first + lane + 6], frames[first + lane + 7]
        for i in range(pixels.size):
            p = pixels[i]
            lanes[i, lane] = a[p]
            lanes[i, lane + 1] = b[p]
            lanes[i, lane + 2] = c[p]
            lanes[i, lane + 3] = d[p]
            lanes[i, lane + 4] = e[p]
            lanes[i, lane + 5] = f[p]
            lanes[i, lane + 6] = g[p]
            lanes[i, lane + 7] = h[p]
    for lane in range(whole, LANES):
        frame = frames[first + lane] if lane < count else frames[first]
        for i in range(pixels.size):
            lanes[i, lane] = frame[pixels[i]]


def flat_frames(frames: np.ndarray) -> np.ndarray:
    """View patterns (..., rows, cols) as (n, rows * cols) in native byte order; copy only when needed."""
    rows, cols = frames.shape[-2:]
    stack = frames.reshape(-1, rows, cols)
    if stack.dtype.kind == "b" or stack.dtype == np.float16:
        stack = stack.astype(np.uint8 if stack.dtype.kind == "b" else np.float32)
    if stack.dtype.kind not in "iuf":
        msg = f"patterns of dtype {frames.dtype} cannot be analysed; integers or floating numbers are needed."
        raise TypeError(msg)
    item = stack.dtype.itemsize
    whole = stack.strides[2] == item and stack.strides[1] == cols * item
    if not stack.dtype.isnative or not whole:
        stack = np.ascontiguousarray(stack, dtype=stack.dtype.newbyteorder("="))
    if stack.flags.c_contiguous:
        return stack.reshape(stack.shape[0], rows * cols)
    shape, strides = (stack.shape[0], rows * cols), (stack.strides[0], item)
    return np.lib.stride_tricks.as_strided(stack, shape, strides, writeable=False)


def working_type(dtype: np.dtype) -> type:
    """float32 for what float32 holds exactly (8- and 16-bit counts, float32), else float64."""
    dtype = np.dtype(dtype)
    small = dtype.itemsize <= 2 or (dtype.kind == "f" and dtype.itemsize <= 4)
    return np.float32 if small else np.float64
