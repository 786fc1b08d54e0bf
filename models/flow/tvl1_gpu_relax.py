"""Triton kernels of TV-L1's inner iterations: several of them in one pass, and when to stop.

Planes are float32 and dense: flow [P, 2 sides, 2, H, W], duals [P, 2 sides, 4, H, W] (x and y part
of the first component, then of the second, times theta), prepared [P, 4, H, W]. A pair's valid
side stands in its column of `control`, int32[NUM_FIELDS, P]. Kernels read one side and write the
other: tiles never see each other's results, and a pass that went too far is simply not accepted.

Importing this module needs triton. Nothing in it knows of torch or of the recipe.
"""

# Triton's decorators and types are unknown to mypy, for the package ships no types; nor is a
# tuple that grows while a loop is unrolled.
# mypy: disable-error-code="untyped-decorator, no-any-return, assignment"

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

# Rows of `control`: does the pair still iterate; iterations the next pass does, 0 for none; done
# since the last median; valid side of flow and duals; iterations done at this level.
ALIVE = tl.constexpr(0)
DUE = tl.constexpr(1)
DONE = tl.constexpr(2)
FLOW_SIDE = tl.constexpr(3)
DUAL_SIDE = tl.constexpr(4)
TOTAL = tl.constexpr(5)
NUM_FIELDS = 6

# Keeps the norm away from the inverse root of zero.
TINY_SQUARE = tl.constexpr(1e-30)


@triton.jit
def _primal(
    row: tl.tensor,
    above: tl.tensor,
    ready: tl.tensor,
    left: tl.tensor,
    bound: tl.tensor,
) -> tl.tensor:
    """Return a row's new flow and its squared change.

    ``row`` is its flow and duals, ``above`` the old duals along y of the row above, ``ready`` its
    prepared planes, and ``left`` each lane's left neighbour.
    """
    u1, u2, p11, p12, p21, p22 = row
    q12, q22 = above
    gx, gy, residual, inverse = ready
    raw = inverse * (gx * u1 + gy * u2) + residual
    step = tl.minimum(tl.maximum(raw, -bound), bound)
    d1 = step * gx + ((p11 - tl.gather(p11, left, 0)) + (p12 - q12))
    d2 = step * gy + ((p21 - tl.gather(p21, left, 0)) + (p22 - q22))
    return u1 + d1, u2 + d2, d1 * d1 + d2 * d2


@triton.jit
def _shrunk(
    along_x: tl.tensor,
    along_y: tl.tensor,
    slope_x: tl.tensor,
    slope_y: tl.tensor,
    tau: tl.tensor,
    tau_over_theta: tl.tensor,
) -> tl.tensor:
    """Return the new duals of one component."""
    square = slope_x * slope_x + (slope_y * slope_y + TINY_SQUARE)
    # The square of an inverse root is cheaper than a quotient, and as exact.
    root = tl.rsqrt(tau_over_theta * (square * tl.rsqrt(square)) + 1.0)
    factor = root * root
    return (along_x + tau * slope_x) * factor, (along_y + tau * slope_y) * factor


@triton.jit
def _load_two(at: tl.tensor, inside: tl.tensor, plane_size: tl.tensor) -> tl.tensor:
    return (
        tl.load(at, mask=inside, other=0.0),
        tl.load(at + plane_size, mask=inside, other=0.0),
    )


@triton.jit
def _load_four(at: tl.tensor, inside: tl.tensor, plane_size: tl.tensor) -> tl.tensor:
    first = _load_two(at, inside, plane_size)
    return first + _load_two(at + 2 * plane_size, inside, plane_size)


@triton.jit
def _store_row(
    flow: tl.tensor,
    duals: tl.tensor,
    at: tl.tensor,
    inside: tl.tensor,
    plane_size: tl.tensor,
    row: tl.tensor,
) -> None:
    tl.store(flow + at, row[0], mask=inside)
    tl.store(flow + plane_size + at, row[1], mask=inside)
    tl.store(duals + at, row[2], mask=inside)
    tl.store(duals + plane_size + at, row[3], mask=inside)
    tl.store(duals + 2 * plane_size + at, row[4], mask=inside)
    tl.store(duals + 3 * plane_size + at, row[5], mask=inside)


@triton.jit(do_not_specialize=["num_pairs", "height", "width", "segment_rows"])
def relax_kernel(  # noqa: PLR0913 - a kernel takes no objects
    flow_ptr: tl.tensor,
    duals_ptr: tl.tensor,
    prepared_ptr: tl.tensor,
    control_ptr: tl.tensor,
    sums_ptr: tl.tensor,
    num_pairs: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    segment_rows: tl.tensor,
    tau: tl.tensor,
    tau_over_theta: tl.tensor,
    bound: tl.tensor,
    ITERATIONS: tl.constexpr,
    LANES: tl.constexpr,
    SUM_ROWS: tl.constexpr,
) -> None:
    """Do up to ITERATIONS iterations of every pair with something to do.

    Grid: strips of columns, segments of rows, pairs; one program walks down its segment. In each
    step iteration i takes row t - i from iteration i - 1 and completes row t - i - 1, all in
    registers: rows above are still there, neighbours in a row come by shuffles. A program reads
    ITERATIONS pixels more on each side than it owns and writes what it owns.

    Sums [P, ITERATIONS, strips * ceil(H / SUM_ROWS)] receive the squared change of each
    iteration over SUM_ROWS rows of a strip. They and the new state do not depend on
    ``segment_rows``, which must be a multiple of SUM_ROWS, nor on the other pairs.
    """
    pair = tl.program_id(2)
    todo = tl.load(control_ptr + DUE * num_pairs + pair)
    if todo == 0:
        return
    strip = tl.program_id(0)
    plane_size = height * width
    base = pair.to(tl.int64) * 2
    side = tl.load(control_ptr + FLOW_SIDE * num_pairs + pair)
    flow_in = flow_ptr + (base + side) * 2 * plane_size
    flow_out = flow_ptr + (base + 1 - side) * 2 * plane_size
    side = tl.load(control_ptr + DUAL_SIDE * num_pairs + pair)
    duals_in = duals_ptr + (base + side) * 4 * plane_size
    duals_out = duals_ptr + (base + 1 - side) * 4 * plane_size
    prepared = prepared_ptr + base * 2 * plane_size
    row_blocks = tl.cdiv(height, SUM_ROWS)
    num_sums = tl.num_programs(0) * row_blocks
    sums = sums_ptr + pair.to(tl.int64) * ITERATIONS * num_sums + strip * row_blocks

    # Lane 0 of the first strip is the column before the image, where all is zero: whoever has no
    # left neighbour takes that. Who has no right neighbour takes itself, which makes its forward
    # difference zero.
    lane = tl.arange(0, LANES)
    x = strip * (LANES - 2 * ITERATIONS) - 1 + lane
    inside = (x >= 0) & (x < width)
    left = tl.maximum(lane - 1, 0)
    right = tl.where((x >= 0) & (x < width - 1), tl.minimum(lane + 1, LANES - 1), lane)
    own = inside & ((lane >= ITERATIONS) | (strip == 0))
    own = own & ((lane < LANES - ITERATIONS) | (strip == tl.num_programs(0) - 1))

    first = tl.program_id(1) * segment_rows
    end = tl.minimum(first + segment_rows, height)
    zero = tl.zeros([LANES], tl.float32)
    # For each iteration the last row it took: new flow, old duals. And its change so far. And
    # the prepared planes of the rows that iterations after the first are at.
    held = (zero, zero, zero, zero, zero, zero) * ITERATIONS
    changes = (zero,) * ITERATIONS
    earlier = (zero, zero, zero, zero) * (ITERATIONS - 1)
    for t in range(tl.maximum(first - ITERATIONS, 0), end + ITERATIONS):
        at = t * width + x
        known = inside & (t < height)
        row = _load_two(flow_in + at, known, plane_size)
        row = row + _load_four(duals_in + at, known, plane_size)
        ready = _load_four(prepared + at, known, plane_size) + earlier
        next_held = ()
        next_changes = ()
        for i in tl.static_range(ITERATIONS):
            y = t - i
            m1 = held[6 * i]
            m2 = held[6 * i + 1]
            q11 = held[6 * i + 2]
            q12 = held[6 * i + 3]
            q21 = held[6 * i + 4]
            q22 = held[6 * i + 5]
            n1, n2, square = _primal(
                row,
                (q12, q22),
                (ready[4 * i], ready[4 * i + 1], ready[4 * i + 2], ready[4 * i + 3]),
                left,
                bound,
            )
            change = changes[i] + tl.where(own & (y >= first) & (y < end), square, 0.0)
            if ((y + 1) % SUM_ROWS == 0) | (y + 1 == end):
                place = sums + i * num_sums + y // SUM_ROWS
                tl.store(place, tl.sum(change), mask=(y >= first) & (y < end))
                change = tl.zeros([LANES], tl.float32)
            next_changes = next_changes + (change,)  # noqa: RUF005 - a Triton tuple knows no star
            next_held = next_held + (n1, n2, row[2], row[3], row[4], row[5])  # noqa: RUF005

            # The row above: its duals now have both neighbours. None of it counts outside the
            # image, where the duals must stay zero.
            between = (y > 0) & (y < height)
            p11, p12 = _shrunk(
                q11,
                q12,
                tl.gather(m1, right, 0) - m1,
                tl.where(between, n1 - m1, 0.0),
                tau,
                tau_over_theta,
            )
            p21, p22 = _shrunk(
                q21,
                q22,
                tl.gather(m2, right, 0) - m2,
                tl.where(between, n2 - m2, 0.0),
                tau,
                tau_over_theta,
            )
            row = (m1, m2, p11, p12, p21, p22)
            if i == todo - 1:
                mine = own & (y > first) & (y <= end)
                _store_row(flow_out, duals_out, (y - 1) * width + x, mine, plane_size, row)
        held = next_held
        changes = next_changes
        earlier = ready[: 4 * (ITERATIONS - 1)]


@triton.jit(do_not_specialize=["num_pairs", "num_sums", "inner_iterations"])
def decide_kernel(  # noqa: PLR0913 - a kernel takes no objects
    control_ptr: tl.tensor,
    sums_ptr: tl.tensor,
    num_pairs: tl.tensor,
    num_sums: tl.tensor,
    inner_iterations: tl.tensor,
    bound: tl.tensor,
    ITERATIONS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Accept a pass of `relax_kernel`, or have a part of it repeated; one program per pair.

    Where the change of some iteration is not above the bound, the pair stops with the state after
    that iteration: if more were done, the pass is not accepted and the next one does just as
    many. Sums are added in a fixed order.
    """
    pair = tl.program_id(0)
    control = control_ptr + pair
    todo = tl.load(control + DUE * num_pairs)
    if todo == 0:
        return
    wanted = todo
    stops = 0
    for back in tl.static_range(ITERATIONS):
        iteration = ITERATIONS - 1 - back
        sums = sums_ptr + (pair.to(tl.int64) * ITERATIONS + iteration) * num_sums
        parts = tl.zeros([BLOCK], tl.float32)
        for start in range(0, num_sums, BLOCK):
            at = start + tl.arange(0, BLOCK)
            parts += tl.load(sums + at, mask=at < num_sums, other=0.0)
        # Not "at most the bound": sums that are no numbers stop, too.
        moving = tl.sum(parts) > bound
        if (iteration < todo) & (moving == 0):
            wanted = iteration + 1
            stops = 1
    if wanted < todo:
        tl.store(control + DUE * num_pairs, wanted)
    else:
        done = tl.load(control + DONE * num_pairs) + todo
        left = tl.minimum(inner_iterations - done, ITERATIONS) * (1 - stops)
        tl.store(control + ALIVE * num_pairs, 1 - stops)
        tl.store(control + DUE * num_pairs, left)
        tl.store(control + DONE * num_pairs, done)
        tl.store(control + TOTAL * num_pairs, tl.load(control + TOTAL * num_pairs) + todo)
        flow_side = tl.load(control + FLOW_SIDE * num_pairs)
        tl.store(control + FLOW_SIDE * num_pairs, 1 - flow_side)
        dual_side = tl.load(control + DUAL_SIDE * num_pairs)
        tl.store(control + DUAL_SIDE * num_pairs, 1 - dual_side)
