"""Triton kernels of TV-L1 that go over the pixels of a level once: warp and median.

Layout of the planes and of `control`: see `tvl1_gpu_relax`.
"""

# Triton's decorators and types are unknown to mypy: the package ships no types.
# mypy: disable-error-code="untyped-decorator, no-any-return"

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

from models.flow.tvl1_gpu_relax import ALIVE, FLOW_SIDE

# Sources of these figures: tvl1_gpu_torch.
CUBIC_SLOPE = tl.constexpr(-0.75)
FLAT_GRADIENT = tl.constexpr(1.1920929e-07)


@triton.jit
def _order(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    return tl.minimum(a, b), tl.maximum(a, b)


@triton.jit
def _sorted_column(plane: tl.tensor, rows: tl.tensor, x: tl.tensor, inside: tl.tensor) -> tl.tensor:
    """Load five pixels of one column and sort them."""
    a = tl.load(plane + rows[0] + x, mask=inside, other=0.0)
    b = tl.load(plane + rows[1] + x, mask=inside, other=0.0)
    c = tl.load(plane + rows[2] + x, mask=inside, other=0.0)
    d = tl.load(plane + rows[3] + x, mask=inside, other=0.0)
    e = tl.load(plane + rows[4] + x, mask=inside, other=0.0)
    a, d = _order(a, d)
    b, e = _order(b, e)
    a, c = _order(a, c)
    b, d = _order(b, d)
    a, b = _order(a, b)
    c, e = _order(c, e)
    b, c = _order(b, c)
    d, e = _order(d, e)
    c, d = _order(c, d)
    return a, b, c, d, e


@triton.jit
def _median_of_ranks(low: tl.tensor, under: tl.tensor, mid: tl.tensor) -> tl.tensor:
    """Order the three lower ranks of five sorted columns as far as the median needs it."""
    # The network of _tvl1_median.hpp, in its order; here its first half.
    a0, a1, a2, a3, a4 = low
    b0, b1, b2, b3, b4 = under
    c0, c1, c2, c3, c4 = mid
    a0, a3 = _order(a0, a3)
    a1, a4 = _order(a1, a4)
    a0, a1 = _order(a0, a1)
    a2, a4 = _order(a2, a4)
    a1, a2 = _order(a1, a2)
    a3, a4 = _order(a3, a4)
    a2, a3 = _order(a2, a3)
    b0, b3 = _order(b0, b3)
    b0, b2 = _order(b0, b2)
    b1, b3 = _order(b1, b3)
    b0, b1 = _order(b0, b1)
    b2, b4 = _order(b2, b4)
    b1, b2 = _order(b1, b2)
    b3, b4 = _order(b3, b4)
    b2, b3 = _order(b2, b3)
    c0, c3 = _order(c0, c3)
    c1, c4 = _order(c1, c4)
    c0, c2 = _order(c0, c2)
    c1, c3 = _order(c1, c3)
    c0, c1 = _order(c0, c1)
    c2, c4 = _order(c2, c4)
    c1, c2 = _order(c1, c2)
    c3, c4 = _order(c3, c4)
    c2, c3 = _order(c2, c3)
    return a3, a4, b2, b3, b4, c1, c2, c3


@triton.jit
def _median_of_upper(over: tl.tensor, high: tl.tensor) -> tl.tensor:
    """Order the two upper ranks of five sorted columns as far as the median needs it."""
    d0, d1, d2, d3, d4 = over
    e0, e1, e2, e3, e4 = high
    d0, d3 = _order(d0, d3)
    d1, d4 = _order(d1, d4)
    d0, d2 = _order(d0, d2)
    d0, d1 = _order(d0, d1)
    d2, d4 = _order(d2, d4)
    d1, d2 = _order(d1, d2)
    d2, d3 = _order(d2, d3)
    e0, e3 = _order(e0, e3)
    e1, e4 = _order(e1, e4)
    e0, e2 = _order(e0, e2)
    e1, e3 = _order(e1, e3)
    e0, e1 = _order(e0, e1)
    e1, e2 = _order(e1, e2)
    return d0, d1, d2, e0, e1


@triton.jit(do_not_specialize=["num_pairs", "height", "width"])
def median_kernel(
    flow_ptr: tl.tensor,
    control_ptr: tl.tensor,
    num_pairs: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """5x5 median of both components of each pair still iterating, to the other side.

    Grid: blocks of pixels, component, pair. The caller flips the side afterwards.
    """
    pair = tl.program_id(2)
    if tl.load(control_ptr + ALIVE * num_pairs + pair) == 0:
        return
    side = tl.load(control_ptr + FLOW_SIDE * num_pairs + pair)
    plane_size = height * width
    component = tl.program_id(1)
    source = flow_ptr + ((pair.to(tl.int64) * 2 + side) * 2 + component) * plane_size
    target = flow_ptr + ((pair.to(tl.int64) * 2 + 1 - side) * 2 + component) * plane_size
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < plane_size
    y = at // width
    x = at % width
    rows = (
        tl.maximum(y - 2, 0) * width,
        tl.maximum(y - 1, 0) * width,
        y * width,
        tl.minimum(y + 1, height - 1) * width,
        tl.minimum(y + 2, height - 1) * width,
    )
    a0, b0, c0, d0, e0 = _sorted_column(source, rows, tl.maximum(x - 2, 0), inside)
    a1, b1, c1, d1, e1 = _sorted_column(source, rows, tl.maximum(x - 1, 0), inside)
    a2, b2, c2, d2, e2 = _sorted_column(source, rows, x, inside)
    a3, b3, c3, d3, e3 = _sorted_column(source, rows, tl.minimum(x + 1, width - 1), inside)
    a4, b4, c4, d4, e4 = _sorted_column(source, rows, tl.minimum(x + 2, width - 1), inside)
    a3, a4, b2, b3, b4, c1, c2, c3 = _median_of_ranks(
        (a0, a1, a2, a3, a4), (b0, b1, b2, b3, b4), (c0, c1, c2, c3, c4)
    )
    d0, d1, d2, e0, e1 = _median_of_upper((d0, d1, d2, d3, d4), (e0, e1, e2, e3, e4))
    d0, c1 = _order(d0, c1)
    b2, a3 = _order(b2, a3)
    e0, a4 = _order(e0, a4)
    c2, b3 = _order(c2, b3)
    d2, b4 = _order(d2, b4)
    c1, a3 = _order(c1, a3)
    e0, c2 = _order(e0, c2)
    a4, b3 = _order(a4, b3)
    d1, d2 = _order(d1, d2)
    a4, c2 = _order(a4, c2)
    e1, d2 = _order(e1, d2)
    d1, c3 = _order(d1, c3)
    a3, a4 = _order(a3, a4)
    a4, c2 = _order(a4, c2)
    a4, e1 = _order(a4, e1)
    a3, a4 = _order(a3, a4)
    c2, d1 = _order(c2, d1)
    a4, c2 = _order(a4, c2)
    tl.store(target + at, c2, mask=inside)


@triton.jit
def _cubic_weights(t: tl.tensor) -> tl.tensor:
    outer = t + 1.0
    rest = 1.0 - t
    w0 = ((outer * CUBIC_SLOPE - 5 * CUBIC_SLOPE) * outer + 8 * CUBIC_SLOPE) * outer
    w0 -= 4 * CUBIC_SLOPE
    w1 = ((CUBIC_SLOPE + 2) * t - (CUBIC_SLOPE + 3)) * t * t + 1.0
    w2 = ((CUBIC_SLOPE + 2) * rest - (CUBIC_SLOPE + 3)) * rest * rest + 1.0
    return w0, w1, w2, 1.0 - w0 - w1 - w2


@triton.jit(do_not_specialize=["num_pairs", "height", "width"])
def warp_kernel(  # noqa: PLR0913 - a kernel takes no objects
    first_ptr: tl.tensor,
    taps_ptr: tl.tensor,
    flow_ptr: tl.tensor,
    prepared_ptr: tl.tensor,
    control_ptr: tl.tensor,
    num_pairs: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Sample the later frames where the flow points to and prepare the threshold step.

    Grid: blocks of pixels, pair. First: [P, H, W]; taps: [P, 3, H, W], read as zero outside.
    """
    pair = tl.program_id(1)
    side = tl.load(control_ptr + FLOW_SIDE * num_pairs + pair)
    plane_size = height * width
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < plane_size
    flow = flow_ptr + (pair.to(tl.int64) * 2 + side) * 2 * plane_size + at
    u1 = tl.load(flow, mask=inside, other=0.0)
    u2 = tl.load(flow + plane_size, mask=inside, other=0.0)
    x = tl.minimum(tl.maximum((at % width).to(tl.float32) + u1, -3.0), (width + 1).to(tl.float32))
    y = tl.minimum(tl.maximum((at // width).to(tl.float32) + u2, -3.0), (height + 1).to(tl.float32))
    whole_x = tl.floor(x)
    whole_y = tl.floor(y)
    wx = _cubic_weights(x - whole_x)
    wy = _cubic_weights(y - whole_y)
    left = whole_x.to(tl.int32) - 1
    top = whole_y.to(tl.int32) - 1
    taps = taps_ptr + pair.to(tl.int64) * 3 * plane_size
    sampled = tl.zeros([BLOCK], tl.float32)
    gx = tl.zeros([BLOCK], tl.float32)
    gy = tl.zeros([BLOCK], tl.float32)
    for i in tl.static_range(4):
        column = left + i
        within = inside & (column >= 0) & (column < width)
        c0 = tl.zeros([BLOCK], tl.float32)
        c1 = tl.zeros([BLOCK], tl.float32)
        c2 = tl.zeros([BLOCK], tl.float32)
        for j in tl.static_range(4):
            row = top + j
            known = within & (row >= 0) & (row < height)
            tap = taps + row * width + column
            c0 += wy[j] * tl.load(tap, mask=known, other=0.0)
            c1 += wy[j] * tl.load(tap + plane_size, mask=known, other=0.0)
            c2 += wy[j] * tl.load(tap + 2 * plane_size, mask=known, other=0.0)
        sampled += wx[i] * c0
        gx += wx[i] * c1
        gy += wx[i] * c2
    square = gx * gx + gy * gy
    intensity = tl.load(first_ptr + pair.to(tl.int64) * plane_size + at, mask=inside, other=0.0)
    rho = sampled - gx * u1 - gy * u2 - intensity
    steep = square > FLAT_GRADIENT
    inverse = tl.where(steep, -1.0 / tl.where(steep, square, 1.0), 0.0)
    prepared = prepared_ptr + pair.to(tl.int64) * 4 * plane_size + at
    tl.store(prepared, gx, mask=inside)
    tl.store(prepared + plane_size, gy, mask=inside)
    tl.store(prepared + 2 * plane_size, rho * inverse, mask=inside)
    tl.store(prepared + 3 * plane_size, inverse, mask=inside)
