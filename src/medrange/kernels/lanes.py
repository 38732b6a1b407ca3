"""Sixteen patterns side by side: vectors of lanes, and the layout that feeds them.

A block of 16 frames is laid out so that the 16 values of one pixel are neighbors in memory; everything
done to a frame is then done to all 16 at once. The vectors are a numba type of their own, because the
compiler's automatic vectorizer misses loops as short as these.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

#: Frames handled side by side; one AVX-512 or two AVX2 registers of float32.
LANES = 16
# Bytes that memory gives at a time; and so few that it does not matter.
_CACHE_LINE, _SMALL = 64, 2**20
#: Products and sums may fuse, but are never reordered: results do not depend on the machine's width.
FAST = {"contract", "nsz"}

# Small integers are turned two or four at a time where the first of them is the lowest part of a word.
_LOW_FIRST = sys.byteorder == "little"
_INT32, _INT64 = ir.IntType(32), ir.IntType(64)


class LaneVector(types.Type):
    """Numba type of 16 floating values held in vector registers."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"LaneVector({dtype})")


@register_model(LaneVector)
class _LaneVectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: LaneVector) -> None:
        element = ir.FloatType() if fe_type.dtype == types.float32 else ir.DoubleType()
        super().__init__(dmm, fe_type, ir.VectorType(element, LANES))


def _lane_pattern(numbers: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(_INT32, LANES), numbers)


def _row_pointer(context: Any, builder: ir.IRBuilder, array: tuple[types.Array, ir.Value], row: ir.Value) -> ir.Value:
    """Pointer to a row of a C-ordered array (n, LANES), as a vector."""
    kind, value = array
    data = cgutils.create_struct_proxy(kind)(context, builder, value=value).data
    row = builder.zext(row, _INT64) if row.type.width < 64 else row
    start = builder.gep(data, [builder.mul(row, ir.Constant(_INT64, LANES))])
    return builder.bitcast(start, context.get_value_type(LaneVector(kind.dtype)).as_pointer())


def _transpose(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Transpose 16 vectors of 16 by exchanging blocks of 8, 4, 2 and 1."""
    size = LANES // 2
    while size:
        low = [i if not i & size else i - size + LANES for i in range(LANES)]
        high = [i + size if not i & size else i + LANES for i in range(LANES)]
        for i in range(LANES):
            if not i & size:
                pair = rows[i], rows[i + size]
                rows[i] = builder.shuffle_vector(*pair, _lane_pattern(low))
                rows[i + size] = builder.shuffle_vector(*pair, _lane_pattern(high))
        size //= 2
    return rows


def _as_vector(builder: ir.IRBuilder, values: ir.Value, source: types.Number, vector: ir.VectorType) -> ir.Value:
    """Convert a vector of any number type to the vector's floating type."""
    if isinstance(source, types.Integer):
        return builder.sitofp(values, vector) if source.signed else builder.uitofp(values, vector)
    return values if values.type == vector else builder.fpext(values, vector)


@intrinsic
def load(typingctx, array, row):  # noqa: ANN001, ANN201
    """Row of a C-ordered array (n, LANES) as a vector; the row number must not be negative."""
    signature = LaneVector(array.dtype)(array, row)

    def codegen(context, builder, signature, args):  # noqa: ANN001, ANN202
        kind = signature.args[0]
        value = builder.load(_row_pointer(context, builder, (kind, args[0]), args[1]))
        value.align = kind.dtype.bitwidth // 8
        return value

    return signature, codegen


@intrinsic
def store(typingctx, array, row, value):  # noqa: ANN001, ANN201
    """Write a vector into a row of a C-ordered array (n, LANES)."""
    signature = types.void(array, row, value)

    def codegen(context, builder, signature, args):  # noqa: ANN001, ANN202
        kind = signature.args[0]
        written = builder.store(args[2], _row_pointer(context, builder, (kind, args[0]), args[1]))
        written.align = kind.dtype.bitwidth // 8
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def spread(typingctx, value):  # noqa: ANN001, ANN201
    """One floating value in every lane."""
    signature = LaneVector(value)(value)

    def codegen(context, builder, signature, args):  # noqa: ANN001, ANN202
        undefined = ir.Constant(context.get_value_type(signature.return_type), ir.Undefined)
        single = builder.insert_element(undefined, args[0], ir.Constant(_INT32, 0))
        return builder.shuffle_vector(single, undefined, _lane_pattern([0] * LANES))

    return signature, codegen


@intrinsic
def fused(typingctx, left, right, added):  # noqa: ANN001, ANN201
    """``left * right + added``, rounded once: where two products meet, which one is fused is left to nobody."""
    signature = left(left, right, added)

    def codegen(context, builder, signature, args):  # noqa: ANN001, ANN202
        kind = args[0].type
        name = f"llvm.fma.v{LANES}f{32 if isinstance(kind.element, ir.FloatType) else 64}"
        multiply_add = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
        return builder.call(multiply_add, args)

    return signature, codegen


@intrinsic
def fill_lanes(typingctx, frames, first, start, lanes, row):  # noqa: ANN001, ANN201
    """``lanes[row + i, j] = frames[first + j, start + i]`` for i, j in 0 .. 15.

    ``frames`` (n, pixels) is contiguous along the pixels, of any number type; ``lanes`` is (m, LANES).
    """
    signature = types.void(frames, first, start, lanes, row)

    def codegen(context, builder, signature, args):  # noqa: ANN001, ANN202
        source = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=args[0])
        frame_stride = cgutils.unpack_tuple(builder, source.strides, 2)[0]
        column = builder.mul(args[2], ir.Constant(_INT64, signature.args[0].dtype.bitwidth // 8))
        places = []
        for lane in range(LANES):
            frame = builder.mul(builder.add(args[1], ir.Constant(_INT64, lane)), frame_stride)
            places.append(builder.add(frame, column))
        _load_turned(context, builder, (signature.args[0], source.data), places, (signature.args[3], *args[3:]))
        return context.get_dummy_value()

    return signature, codegen


def block_width(dtype: np.dtype) -> int:
    """Pixels that :func:`fill_block` turns at once: as many as 16 words of 32 bits hold, at least 16."""
    small = dtype.kind in "iu" and dtype.itemsize < 4 and _LOW_FIRST
    return LANES * 4 // dtype.itemsize if small else LANES


@intrinsic
def fill_block(typingctx, frames, first, start, lanes, row):  # noqa: ANN001, ANN201
    """As :func:`fill_lanes` for a block of :func:`block_width` pixels; small integers are turned together."""
    signature = types.void(frames, first, start, lanes, row)

    def codegen(context, builder, signature, args):  # noqa: ANN001, ANN202
        kind, lanes_kind = signature.args[0], signature.args[3]
        source = cgutils.create_struct_proxy(kind)(context, builder, value=args[0])
        frame_stride = cgutils.unpack_tuple(builder, source.strides, 2)[0]
        bits = kind.dtype.bitwidth
        column = builder.mul(args[2], ir.Constant(_INT64, bits // 8))
        places = []
        for lane in range(LANES):
            frame = builder.mul(builder.add(args[1], ir.Constant(_INT64, lane)), frame_stride)
            places.append(builder.add(frame, column))
        target = (lanes_kind, *args[3:])
        if isinstance(kind.dtype, types.Integer) and bits < 32 and _LOW_FIRST:
            _load_words(context, builder, (kind, source.data), places, target)
        else:
            _load_turned(context, builder, (kind, source.data), places, target)
        return context.get_dummy_value()

    return signature, codegen


def _load_words(context: Any, builder: ir.IRBuilder, source: tuple, places: list[ir.Value], target: tuple) -> None:
    """As :func:`_load_turned`, for integers of 8 or 16 bits: words of 32 bits are turned, then taken apart."""
    source_kind, data = source
    lanes_kind, lanes, row = target
    bits, signed = source_kind.dtype.bitwidth, source_kind.dtype.signed
    base = builder.bitcast(data, ir.IntType(8).as_pointer())
    words = ir.VectorType(_INT32, LANES)
    vector = context.get_value_type(LaneVector(lanes_kind.dtype))
    rows = []
    for place in places:
        values = builder.load(builder.bitcast(builder.gep(base, [place]), words.as_pointer()))
        values.align = bits // 8
        rows.append(values)
    pointer = _row_pointer(context, builder, (lanes_kind, lanes), row)
    shift, convert = (builder.ashr, builder.sitofp) if signed else (builder.lshr, builder.uitofp)
    per = 32 // bits
    last = _lane_pattern([32 - bits] * LANES)
    for i, word in enumerate(_transpose(builder, rows)):
        for j in range(per):
            # The first pixel is the lowest part of the word.
            upper = builder.shl(word, _lane_pattern([32 - bits * (j + 1)] * LANES))
            place = builder.gep(pointer, [ir.Constant(_INT32, per * i + j)])
            written = builder.store(convert(shift(upper, last), vector), place)
            written.align = lanes_kind.dtype.bitwidth // 8


def _ask(context: Any, builder: ir.IRBuilder, source: tuple, places: list[ir.Value]) -> None:
    """Ask for the cache line of each place (bytes from the source's start), to be read once."""
    base = builder.bitcast(source[1], ir.IntType(8).as_pointer())
    kinds = [base.type, _INT32, _INT32, _INT32]
    ask = builder.module.declare_intrinsic("llvm.prefetch", [base.type], ir.FunctionType(ir.VoidType(), kinds))
    for place in places:
        builder.call(ask, [builder.gep(base, [place]), *(ir.Constant(_INT32, number) for number in (0, 2, 1))])


@intrinsic
def prefetch_block(typingctx, frames, first, start):  # noqa: ANN001, ANN201
    """Ask for the memory of a block that :func:`fill_block` will read, once."""
    signature = types.void(frames, first, start)

    def codegen(context, builder, signature, args):  # noqa: ANN001, ANN202
        kind = signature.args[0]
        source = cgutils.create_struct_proxy(kind)(context, builder, value=args[0])
        frame_stride = cgutils.unpack_tuple(builder, source.strides, 2)[0]
        column = builder.mul(args[2], ir.Constant(_INT64, kind.dtype.bitwidth // 8))
        places = []
        for lane in range(LANES):
            frame = builder.mul(builder.add(args[1], ir.Constant(_INT64, lane)), frame_stride)
            places.append(builder.add(frame, column))
        _ask(context, builder, (kind, source.data), places)
        return context.get_dummy_value()

    return signature, codegen


def _gathered(context: Any, builder: ir.IRBuilder, kinds: tuple, args: tuple) -> tuple[tuple, list[ir.Value]]:
    """Type and data of frames, and the place in bytes of ``origins[lane] + start`` for each lane."""
    source = cgutils.create_struct_proxy(kinds[0])(context, builder, value=args[0])
    origins = cgutils.create_struct_proxy(kinds[1])(context, builder, value=args[1]).data
    item = ir.Constant(_INT64, kinds[0].dtype.bitwidth // 8)
    places = []
    for lane in range(LANES):
        origin = builder.load(builder.gep(origins, [ir.Constant(_INT64, lane)]))
        places.append(builder.mul(builder.add(origin, args[2]), item))
    return (kinds[0], source.data), places


@intrinsic
def prefetch_lanes(typingctx, frames, origins, start):  # noqa: ANN001, ANN201
    """Ask for the memory of a block that :func:`gather_lanes` will read, once; it may lie outside the frames."""
    signature = types.void(frames, origins, start)

    def codegen(context, builder, signature, args):  # noqa: ANN001, ANN202
        _ask(context, builder, *_gathered(context, builder, signature.args, args))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def gather_lanes(typingctx, frames, origins, start, lanes, row):  # noqa: ANN001, ANN201
    """As :func:`fill_lanes`, lane j reading from ``origins[j] + start`` on, in pixels from the first frame's first.

    ``origins`` is a C-ordered array of 16 int64: any frame, and the same block at another place in each.
    """
    signature = types.void(frames, origins, start, lanes, row)

    def codegen(context, builder, signature, args):  # noqa: ANN001, ANN202
        source, places = _gathered(context, builder, signature.args, args)
        _load_turned(context, builder, source, places, (signature.args[3], *args[3:]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def gather_block(typingctx, frames, origins, start, lanes, row):  # noqa: ANN001, ANN201
    """As :func:`gather_lanes` for a block of :func:`block_width` pixels; small integers are turned together."""
    signature = types.void(frames, origins, start, lanes, row)

    def codegen(context, builder, signature, args):  # noqa: ANN001, ANN202
        source, places = _gathered(context, builder, signature.args, args)
        target = (signature.args[3], *args[3:])
        if isinstance(source[0].dtype, types.Integer) and source[0].dtype.bitwidth < 32 and _LOW_FIRST:
            _load_words(context, builder, source, places, target)
        else:
            _load_turned(context, builder, source, places, target)
        return context.get_dummy_value()

    return signature, codegen


def _load_turned(context: Any, builder: ir.IRBuilder, source: tuple, places: list[ir.Value], target: tuple) -> None:
    """Load 16 values at each of 16 places (bytes from the source's start), and store them turned.

    ``source`` is the array's type and its data pointer, ``target`` the type and value of the lanes and a row.
    """
    source_kind, data = source
    lanes_kind, lanes, row = target
    base = builder.bitcast(data, ir.IntType(8).as_pointer())
    block = ir.VectorType(context.get_value_type(source_kind.dtype), LANES)
    vector = context.get_value_type(LaneVector(lanes_kind.dtype))
    rows = []
    for place in places:
        values = builder.load(builder.bitcast(builder.gep(base, [place]), block.as_pointer()))
        values.align = source_kind.dtype.bitwidth // 8
        rows.append(_as_vector(builder, values, source_kind.dtype, vector))
    pointer = _row_pointer(context, builder, (lanes_kind, lanes), row)
    for i, values in enumerate(_transpose(builder, rows)):
        written = builder.store(values, builder.gep(pointer, [ir.Constant(_INT32, i)]))
        written.align = lanes_kind.dtype.bitwidth // 8


def _define_arithmetic(operation: Callable, instruction: str) -> None:
    """Teach numba an arithmetic operator between two vectors."""

    @intrinsic
    def apply(typingctx, left, right):  # noqa: ANN001, ANN202
        signature = left(left, right)

        def codegen(context, builder, signature, args):  # noqa: ANN001, ANN202
            return getattr(builder, instruction)(*args, flags=("contract", "nsz"))

        return signature, codegen

    @overload(operation, inline="always")
    def _between_vectors(left, right):  # noqa: ANN001, ANN202
        if isinstance(left, LaneVector) and isinstance(right, LaneVector):
            return lambda left, right: apply(left, right)
        return None


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_arithmetic(_operation, _instruction)


def aligned_lanes(n: int, dtype: np.dtype) -> np.ndarray:
    """Room for n vectors, each in a cache line (two of float64) of its own."""
    size = n * LANES * np.dtype(dtype).itemsize
    room = np.empty(size + 64, dtype=np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(n, LANES)


def flat_frames(frames: np.ndarray) -> np.ndarray:
    """View patterns (..., rows, cols) as (n, rows * cols) in native byte order; copy only when needed.

    The result is contiguous along the pixels, not always from frame to frame.

    Raises
    ------
    TypeError
        If the values are neither integers nor floating numbers.
    """
    rows, cols = frames.shape[-2:]
    stack = frames.reshape(-1, rows, cols)
    if stack.dtype.kind == "b" or stack.dtype == np.float16:
        stack = stack.astype(np.uint8 if stack.dtype.kind == "b" else np.float32)
    if stack.dtype.kind not in "iuf" or stack.dtype.itemsize > 8:
        msg = f"patterns of dtype {frames.dtype} cannot be analyzed; integers or floating numbers are needed."
        raise TypeError(msg)
    item = stack.dtype.itemsize
    whole = stack.strides[2] == item and stack.strides[1] == cols * item
    if not stack.dtype.isnative or not whole:
        stack = np.ascontiguousarray(stack, dtype=stack.dtype.newbyteorder("="))
    if stack.flags.c_contiguous:
        return stack.reshape(stack.shape[0], rows * cols)
    shape, strides = (stack.shape[0], rows * cols), (stack.strides[0], item)
    return np.lib.stride_tricks.as_strided(stack, shape, strides, writeable=False)


def full_blocks(flat: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """Cut frames (n, pixels) into pieces of whole blocks of LANES, with how many of their frames count.

    The last frames, when they do not fill a block, are copied and filled up with repetitions.
    """
    whole = len(flat) // LANES * LANES
    pieces = [(flat[:whole], whole)] if whole else []
    rest = len(flat) - whole
    if rest:
        pieces.append((flat[whole + np.arange(LANES) % rest], rest))
    return pieces


def cache_phase(flat: np.ndarray, width: int) -> int:
    """First pixel of frames (n, pixels) that begins a line of the processor's cache, 0 to ``width`` - 1.

    A block that begins there is read from one line of memory, any other from two. NumPy's arrays begin a quarter of a
    line off. 0 for few frames, which are quick however they lie, and where every frame lies otherwise.
    """
    begin, item = flat.ctypes.data % _CACHE_LINE, flat.dtype.itemsize
    if flat.nbytes < _SMALL or flat.strides[0] % _CACHE_LINE or begin % item:
        return 0
    return (_CACHE_LINE - begin) % _CACHE_LINE // item % width


def pixel_blocks(
    pixels: np.ndarray, n_pixels: int, width: int = LANES, phase: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of neighboring pixels that cover ``pixels``, and the row of each pixel among the lanes.

    Parameters
    ----------
    pixels : numpy.ndarray
        Flat pixel numbers, ascending.
    n_pixels : int
        Number of pixels of a frame, at least 16.
    width : int
        Pixels of a block.
    phase : int
        A pixel that a block may begin with, of :func:`cache_phase`.

    Returns
    -------
    starts : numpy.ndarray
        First pixel of each block.
    rows : numpy.ndarray
        Where each of ``pixels`` comes to lie: block number * width + place in the block.

    Raises
    ------
    ValueError
        If a frame has fewer pixels than a block.
    """
    if n_pixels < width:
        msg = f"a pattern has {n_pixels} pixels; at least {width} are needed."
        raise ValueError(msg)
    numbers, which = np.unique((pixels - phase) // width, return_inverse=True)
    starts = np.clip(numbers * width + phase, 0, n_pixels - width)
    return starts.astype(np.int64), which.reshape(-1) * width + pixels - starts[which.reshape(-1)]


def working_type(dtype: np.dtype) -> type:
    """float32 for what float32 holds exactly (8- and 16-bit counts, float32), else float64."""
    dtype = np.dtype(dtype)
    small = dtype.itemsize <= 2 or (dtype.kind == "f" and dtype.itemsize <= 4)
    return np.float32 if small else np.float64
