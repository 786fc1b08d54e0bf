"""Runs the Triton kernels in Triton's interpreter beside the torch operations; prints JSON.

A program of its own, because the interpreter is chosen when the kernels are imported:
TRITON_INTERPRET=1 python -m models.tests.flow_gpu_interpreted. The interpreter takes about a
hundred thousand times as long as a device, hence the tiny frames.
"""

import json
from dataclasses import replace

import torch

from models.flow import tvl1_gpu_relax as relax
from models.flow import tvl1_gpu_tiles as tiles
from models.flow import tvl1_gpu_torch as reference
from models.flow import tvl1_gpu_triton as kernels
from models.flow.tvl1_gpu_levels import with_gradients
from models.flow.tvl1_gpu_tiles import Cut
from models.recipe import FlowRecipe

RECIPE = FlowRecipe(num_warps=1, inner_iterations=6, outer_iterations=2, epsilon=0.02)
# Where the moving pair stops, passes being four iterations and two: after three iterations, so
# that the first pass is repeated in part; after five, so that the second is; never.
STOPS = {0.12: 3, 0.08: 5, 0.02: 12}


def draw_pairs(pairs, height, width):
    """Smooth random frames in three degrees of motion, the first of which is none."""
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand((pairs, 1, height // 3 + 4, width // 3 + 4), generator=generator) * 255
    image = torch.nn.functional.interpolate(coarse, (height + 4, width + 4), mode="bilinear")[:, 0]
    first = image[:, 2:-2, 2:-2].contiguous()
    second = torch.stack(
        [one[2 : height + 2, 2 + n % 2 : width + 2 + n % 2] for n, one in enumerate(image)]
    )
    second[-1] = first[-1] + 0.3 * (second[-1] - first[-1])
    return first, with_gradients(second.contiguous())


def largest(a, b):
    return float((a - b).abs().max())


def level_of(pairs, height, width):
    first, taps = draw_pairs(pairs, height, width)
    flow = torch.randn((pairs, 2, height, width), generator=torch.Generator().manual_seed(5))
    return kernels.Level(first, taps, flow, RECIPE, Cut()), first, taps, flow


def check_warp():
    # Flow far enough to leave the frame on every side.
    level, first, taps, flow = level_of(2, 9, 13)
    level._flow[:, 0] = flow * 9
    level.warp()
    return largest(level._prepared, reference.warp(first, taps, flow * 9))


def check_median():
    level, _, _, flow = level_of(2, 9, 13)
    level._flow[:, 1] = 7
    level._row(relax.ALIVE)[1] = 1
    level._median()
    return {
        "error": largest(level.result()[0][1], reference.median(flow)[1]),
        # A pair that has stopped keeps its flow.
        "kept": largest(level.result()[0][0], flow[0]),
    }


def solve(first, taps, recipe, cut=kernels.DEFAULT_CUT):
    flow = torch.zeros((len(first), 2, *first.shape[1:]))
    return kernels.solve_level(first, taps, flow, recipe, cut)


def check_level(epsilon):
    first, taps = draw_pairs(2, 7, 12)
    recipe = replace(RECIPE, epsilon=epsilon)
    flow, taken = solve(first, taps, recipe)
    expected, expected_taken = reference.solve_level(first, taps, torch.zeros_like(flow), recipe)
    return {
        "error": largest(flow, expected),
        "motion": float(expected.abs().max()),
        "taken": taken.tolist(),
        "expected_taken": expected_taken.tolist(),
        "stops": [1, STOPS[epsilon]],
    }


def check_strips_and_segments():
    """Small strips and segments, so that tiny frames have several of both."""
    first, taps = draw_pairs(2, 7, 20)
    recipe = FlowRecipe(num_warps=1, inner_iterations=3, outer_iterations=1, epsilon=0.02)
    cut = Cut(pass_iterations=2, strip_lanes=16, sum_rows=4, largest_segment_rows=4)
    flow, taken = solve(first, taps, recipe, cut)
    expected, expected_taken = reference.solve_level(first, taps, torch.zeros_like(flow), recipe)
    alone, _ = solve(first[1:], taps[1:], recipe, cut)
    # A card that few programs keep busy: segments as long as they may be.
    tiles.BUSY_PROGRAMS = 1
    long_segments, _ = solve(first[1:], taps[1:], recipe, replace(cut, largest_segment_rows=64))
    return {
        "error": largest(flow, expected),
        "taken": taken.tolist(),
        "expected_taken": expected_taken.tolist(),
        "alone": torch.equal(alone[0], flow[1]),
        "segments": torch.equal(long_segments[0], flow[1]),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(  # noqa: T201 - a program answers on its output
        json.dumps(
            {
                "warp": check_warp(),
                "median": check_median(),
                "levels": [check_level(epsilon) for epsilon in STOPS],
                "cut": check_strips_and_segments(),
            }
        )
    )
