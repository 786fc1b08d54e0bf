"""One level of TV-L1 by Triton kernels: memory, launches, and few questions to the device.

Importing this module needs triton.
"""

from collections.abc import Callable
from typing import Any

import torch
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from models.flow import tvl1_gpu_relax as relax
from models.flow import tvl1_gpu_sample as sample
from models.flow.tvl1_gpu_tiles import Cut
from models.recipe import FlowRecipe

PIXEL_BLOCK = 256
PIXEL_WARPS = 4
DECIDE_BLOCK = 128
DEFAULT_CUT = Cut()


def solve_level(
    first: Tensor, taps: Tensor, flow: Tensor, recipe: FlowRecipe, cut: Cut = DEFAULT_CUT
) -> tuple[Tensor, Tensor]:
    """Refine the flow of every pair at one level; see `tvl1_gpu_torch.solve_level`."""
    solver = Level(first, taps, flow, recipe, cut)
    for _ in range(recipe.num_warps):
        solver.warp()
        solver.settle()
    return solver.result()


class Level:
    """The state of all pairs at one level, and the launches that move it on."""

    def __init__(
        self, first: Tensor, taps: Tensor, flow: Tensor, recipe: FlowRecipe, cut: Cut
    ) -> None:
        self._cut = cut
        pairs, _, height, width = flow.shape
        self._first, self._taps, self._recipe = first.contiguous(), taps.contiguous(), recipe
        self._size = (pairs, height, width)
        self._flow = flow.new_empty((pairs, 2, 2, height, width))
        self._flow[:, 0] = flow
        self._duals = flow.new_empty((pairs, 2, 4, height, width))
        self._duals[:, 0] = 0
        self._prepared = flow.new_empty((pairs, 4, height, width))
        self._control = torch.zeros(
            (relax.NUM_FIELDS, pairs), dtype=torch.int32, device=flow.device
        )
        self._strips = cut.num_strips(width)
        self._num_sums = cut.num_sums(height, width)
        self._sums = flow.new_empty((pairs, cut.pass_iterations, self._num_sums))
        self._pixel_blocks = -(-height * width // PIXEL_BLOCK)
        self._stop_sum = recipe.epsilon**2 * width * height

    def result(self) -> tuple[Tensor, Tensor]:
        """Return flow and iterations, as `solve_level` does."""
        side = self._row(relax.FLOW_SIDE).bool()[:, None, None, None]
        flow = torch.where(side, self._flow[:, 1], self._flow[:, 0])
        return flow, self._row(relax.TOTAL).long()

    def warp(self) -> None:
        """Prepare the threshold step for the flow as it is now."""
        pairs, height, width = self._size
        self._launch(
            sample.warp_kernel[(self._pixel_blocks, pairs)],
            self._first, self._taps, self._flow, self._prepared, self._control,
            pairs, height, width, BLOCK=PIXEL_BLOCK, num_warps=PIXEL_WARPS,
        )  # fmt: skip

    def settle(self) -> None:
        """Alternate the median with inner iterations until each pair hardly changes any more."""
        recipe = self._recipe
        self._row(relax.ALIVE).fill_(1)
        num_alive = self._size[0]
        passes = -(-recipe.inner_iterations // self._cut.pass_iterations)
        for _ in range(recipe.outer_iterations):
            if recipe.median_filtering > 1:
                self._median()
            first_pass = min(self._cut.pass_iterations, recipe.inner_iterations)
            torch.mul(self._row(relax.ALIVE), first_pass, out=self._row(relax.DUE))
            self._row(relax.DONE).zero_()
            rows = self._cut.segment_rows(self._size[1], self._strips * num_alive)
            # A pair that stops inside a pass needs another one, which repeats a part of it.
            for _ in range(passes):
                self._pass(rows)
            # The only question to the device: everything up to here was queued without waiting.
            alive, repeating = self._progress()
            if repeating:
                self._pass(rows)
            num_alive = alive - repeating
            if num_alive == 0:
                return

    def _progress(self) -> tuple[int, int]:
        """Return how many pairs iterate, and how many of them need but a part of a pass."""
        unfinished = (self._row(relax.DUE) > 0).to(torch.int32)
        counts: list[int] = torch.stack([self._row(relax.ALIVE), unfinished]).sum(1).tolist()
        return counts[0], counts[1]

    def _median(self) -> None:
        pairs, height, width = self._size
        self._launch(
            sample.median_kernel[(self._pixel_blocks, 2, pairs)],
            self._flow, self._control, pairs, height, width,
            BLOCK=PIXEL_BLOCK, num_warps=PIXEL_WARPS,
        )  # fmt: skip
        self._row(relax.FLOW_SIDE).bitwise_xor_(self._row(relax.ALIVE))

    def _pass(self, segment_rows: int) -> None:
        pairs, height, width = self._size
        recipe, cut = self._recipe, self._cut
        grid = (self._strips, -(-height // segment_rows), pairs)
        self._launch(
            relax.relax_kernel[grid],
            self._flow, self._duals, self._prepared, self._control, self._sums,
            pairs, height, width, segment_rows,
            recipe.tau, recipe.tau / recipe.theta, recipe.lambda_ * recipe.theta,
            ITERATIONS=cut.pass_iterations, LANES=cut.strip_lanes, SUM_ROWS=cut.sum_rows,
            num_warps=1,
        )  # fmt: skip
        self._launch(
            relax.decide_kernel[(pairs,)],
            self._control, self._sums, pairs, self._num_sums, recipe.inner_iterations,
            self._stop_sum, ITERATIONS=cut.pass_iterations, BLOCK=DECIDE_BLOCK, num_warps=1,
        )  # fmt: skip

    def _row(self, field: tl.constexpr) -> Tensor:
        return self._control[field.value]

    @staticmethod
    def _launch(kernel: Callable[..., Any], *arguments: object, **options: int) -> None:
        kernel(*arguments, **options)
