"""One level of TV-L1 in plain torch operations, on any device.

Takes the place of the Triton kernels where there are none, and is the reference they are tested
against. Same arithmetic as the native kernel, a whole batch of pairs at a time; a pair stops at
the very iteration at which it would stop alone.

Source: see `_tvl1_kernel.hpp`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.recipe import FlowRecipe

# Keys' cubic with the slope OpenCV uses. Source: OpenCV, interpolateCubic.
CUBIC_SLOPE = -0.75
# Gradients whose square is not above this count as flat. Source: OpenCV tvl1flow, estimateV.
FLAT_GRADIENT = 1.1920929e-07
# Keeps the norm away from the inverse root of zero.
TINY_SQUARE = 1e-30
# The bicubic window of a clamped coordinate reaches this far outside.
BORDER_PX = 4
MEDIAN_RADIUS_PX = 2
# Asking a device whether every pair has stopped makes it wait, so not every iteration asks.
ITERATIONS_PER_QUESTION = 5
# Changes are summed as whole multiples of 1 / this: such a sum does not depend on its order.
# Frames up to 2^26 pixels fit; the mean change at which a pair stops is some 10^4 of these steps.
CHANGE_STEPS = float(2**28)


def solve_level(
    first: Tensor, taps: Tensor, flow: Tensor, recipe: FlowRecipe
) -> tuple[Tensor, Tensor]:
    """Refine the flow of every pair at one level.

    Args:
        first: float32[P, H, W], the earlier frame of each pair.
        taps: float32[P, 3, H, W], the later frame, see `with_gradients`.
        flow: float32[P, 2, H, W], (x, y) from the coarser level.
        recipe: parameters of the solver.

    Returns:
        float32[P, 2, H, W], and int64[P]: how many iterations each pair took.
    """
    duals = flow.new_zeros((len(flow), 2, 2, *flow.shape[2:]))
    iterations = torch.zeros(len(flow), dtype=torch.int64, device=flow.device)
    for _ in range(recipe.num_warps):
        prepared = warp(first, taps, flow)
        flow, duals, taken = settle(flow, duals, prepared, recipe)
        iterations += taken
    return flow, iterations


def cubic_weights(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the four weights of a bicubic sample at fraction t in [0, 1)."""
    a = CUBIC_SLOPE
    outer = t + 1
    rest = 1 - t
    w0 = ((outer * a - 5 * a) * outer + 8 * a) * outer - 4 * a
    w1 = ((a + 2) * t - (a + 3)) * t * t + 1
    w2 = ((a + 2) * rest - (a + 3)) * rest * rest + 1
    return w0, w1, w2, 1 - w0 - w1 - w2


def warp(first: Tensor, taps: Tensor, flow: Tensor) -> Tensor:
    """Sample the later frames where the flow points to and prepare the threshold step.

    Returns:
        float32[P, 4, H, W]: gradient x and y, constant part of rho by -|gradient|^2, and
        -1 / |gradient|^2, the last two zero where the gradient vanishes.
    """
    height, width = flow.shape[2:]
    x = torch.arange(width, dtype=torch.float32, device=flow.device) + flow[:, 0]
    y = torch.arange(height, dtype=torch.float32, device=flow.device)[:, None] + flow[:, 1]
    x, y = x.clamp(-3, width + 1), y.clamp(-3, height + 1)
    whole_x, whole_y = x.floor(), y.floor()
    weights_x, weights_y = cubic_weights(x - whole_x), cubic_weights(y - whole_y)
    padded = F.pad(taps, [BORDER_PX] * 4).flatten(2)
    stride = width + 2 * BORDER_PX
    corner = (whole_y.long() + BORDER_PX - 1) * stride + whole_x.long() + BORDER_PX - 1
    columns = []
    for i in range(4):
        column = torch.zeros_like(taps)
        for j in range(4):
            at = (corner + (j * stride + i)).flatten(1)[:, None].expand(-1, 3, -1)
            column = column + weights_y[j][:, None] * padded.gather(2, at).view_as(taps)
        columns.append(weights_x[i][:, None] * column)
    sampled = (columns[0] + columns[1]) + (columns[2] + columns[3])
    intensity, gradient = sampled[:, 0], sampled[:, 1:]
    square = (gradient * gradient).sum(1)
    rho = intensity - gradient[:, 0] * flow[:, 0] - gradient[:, 1] * flow[:, 1] - first
    inverse = torch.where(square > FLAT_GRADIENT, -1 / square, 0.0)
    return torch.cat([gradient, (rho * inverse)[:, None], inverse[:, None]], dim=1)


def median(flow: Tensor) -> Tensor:
    """Return the 5x5 median of float32[P, 2, H, W], edge pixels repeated outside."""
    height, width = flow.shape[2:]
    padded = F.pad(flow, [MEDIAN_RADIUS_PX] * 4, mode="replicate")
    size = 2 * MEDIAN_RADIUS_PX + 1
    windows = [padded[..., y : y + height, x : x + width] for y in range(size) for x in range(size)]
    return torch.stack(windows).median(dim=0).values


def relax(
    flow: Tensor, duals: Tensor, prepared: Tensor, recipe: FlowRecipe
) -> tuple[Tensor, Tensor, Tensor]:
    """Do one iteration.

    Args:
        flow: float32[P, 2, H, W].
        duals: float32[P, 2, 2, H, W], component and direction, times theta.
        prepared: float32[P, 4, H, W], see `warp`.
        recipe: parameters of the solver.

    Returns:
        The new flow and duals, and float32[P, H, W], the squared change of the flow.
    """
    gradient, residual, inverse = prepared[:, :2], prepared[:, 2], prepared[:, 3]
    bound = recipe.lambda_ * recipe.theta
    raw = inverse * (gradient[:, 0] * flow[:, 0] + gradient[:, 1] * flow[:, 1]) + residual
    step = raw.clamp(-bound, bound)[:, None]
    along_x, along_y = duals[:, :, 0], duals[:, :, 1]
    divergence = (along_x - F.pad(along_x, (1, 0))[..., :-1]) + (
        along_y - F.pad(along_y, (0, 0, 1, 0))[..., :-1, :]
    )
    change = step * gradient + divergence
    moved = flow + change
    slope_x = F.pad(moved[..., 1:] - moved[..., :-1], (0, 1))
    slope_y = F.pad(moved[..., 1:, :] - moved[..., :-1, :], (0, 0, 0, 1))
    square = slope_x * slope_x + (slope_y * slope_y + TINY_SQUARE)
    root = torch.rsqrt(recipe.tau / recipe.theta * (square * torch.rsqrt(square)) + 1)
    slopes = torch.stack([slope_x, slope_y], dim=2)
    shrunk = (duals + recipe.tau * slopes) * (root * root)[:, :, None]
    return moved, shrunk, (change * change).sum(1)


def settle(
    flow: Tensor, duals: Tensor, prepared: Tensor, recipe: FlowRecipe
) -> tuple[Tensor, Tensor, Tensor]:
    """Alternate the median with inner iterations until each pair hardly changes any more.

    Returns:
        The new flow and duals, and int64[P], iterations of each pair.
    """
    height, width = flow.shape[2:]
    bound = recipe.epsilon**2 * width * height * CHANGE_STEPS
    active = torch.ones(len(flow), dtype=torch.bool, device=flow.device)
    iterations = torch.zeros(len(flow), dtype=torch.int64, device=flow.device)
    for _ in range(recipe.outer_iterations):
        if recipe.median_filtering > 1:
            flow = torch.where(active[:, None, None, None], median(flow), flow)
        for inner in range(recipe.inner_iterations):
            moved, shrunk, change = relax(flow, duals, prepared, recipe)
            flow = torch.where(active[:, None, None, None], moved, flow)
            duals = torch.where(active[:, None, None, None, None], shrunk, duals)
            iterations += active
            total = (change * CHANGE_STEPS).to(torch.int64).sum((1, 2))
            active = active & (total > bound)
            if inner % ITERATIONS_PER_QUESTION == 0 and not active.any():
                return flow, duals, iterations
        if not active.any():
            break
    return flow, duals, iterations
