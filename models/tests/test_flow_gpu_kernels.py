"""The Triton kernels without a GPU: interpreted beside torch operations, and compiled."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton comes with torch's CUDA builds only")

import torch
import triton  # type: ignore[import-untyped]
from triton.backends.compiler import GPUTarget  # type: ignore[import-untyped]

from models.flow import tvl1_gpu_relax as relax
from models.flow import tvl1_gpu_sample as sample
from models.flow import tvl1_gpu_triton as launches
from models.flow.tvl1_gpu import GpuFlowEngine
from models.flow.tvl1_gpu_tiles import Cut
from models.recipe import FlowRecipe

ROOT = Path(__file__).parents[2]
PLANES, FIELDS, NUMBER, FRACTION = "*fp32", "*i32", "i32", "fp32"
PIXELS = {"BLOCK": launches.PIXEL_BLOCK}
CUT = Cut()
RELAX = {"ITERATIONS": CUT.pass_iterations, "LANES": CUT.strip_lanes, "SUM_ROWS": CUT.sum_rows}
DECIDE = {"ITERATIONS": CUT.pass_iterations, "BLOCK": launches.DECIDE_BLOCK}
# Kernel, types of its arguments, constants, warps, and the most registers it may take.
KERNELS = {
    "relax": (
        relax.relax_kernel,
        [PLANES] * 3 + [FIELDS, PLANES] + [NUMBER] * 4 + [FRACTION] * 3,
        RELAX, 1, 192,
    ),
    "decide": (
        relax.decide_kernel, [FIELDS, PLANES] + [NUMBER] * 3 + [FRACTION], DECIDE, 1, 128,
    ),
    "warp": (
        sample.warp_kernel, [PLANES] * 4 + [FIELDS] + [NUMBER] * 3, PIXELS,
        launches.PIXEL_WARPS, 128,
    ),
    "median": (
        sample.median_kernel, [PLANES, FIELDS] + [NUMBER] * 3, PIXELS, launches.PIXEL_WARPS, 128,
    ),
}  # fmt: skip


def compile_kernel(kernel, types, constants, num_warps, capability):
    names = [parameter.name for parameter in kernel.params]
    source = triton.compiler.ASTSource(
        fn=kernel,
        signature=dict(zip(names, types, strict=False)) | dict.fromkeys(constants, "constexpr"),
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={
            (place,): [["tt.divisibility", 16]]
            for place, kind in enumerate(types)
            if kind.startswith("*")
        },
    )
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(source, target=target, options={"num_warps": num_warps})


@pytest.mark.parametrize("name", KERNELS)
def test_compiles_for_the_card(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    if not (tools / "ptxas").is_file():
        pytest.skip("this Triton brings no ptxas")
    kernel, types, constants, num_warps, most_registers = KERNELS[name]
    compiled = compile_kernel(kernel, types, constants, num_warps, 90)
    assert compiled.asm["cubin"]
    # Shifts inside a row are shuffles; through shared memory they would cost several times that.
    if name == "relax":
        assert compiled.metadata.shared == 0
    if (tools / "cuobjdump").is_file():
        (tmp_path / "kernel.cubin").write_bytes(compiled.asm["cubin"])
        command = [tools / "cuobjdump", "-res-usage", tmp_path / "kernel.cubin"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", text).groups()
        assert int(stack) == 0
        assert int(registers) <= most_registers


@pytest.fixture(scope="module")
def interpreted():
    """What the interpreter finds; one run for all tests."""
    done = subprocess.run(
        [sys.executable, "-m", "models.tests.flow_gpu_interpreted"],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
class TestInterpreted:
    def test_warp(self, interpreted):
        assert interpreted["warp"] < 1e-3  # of intensities and residuals up to some hundreds

    def test_median(self, interpreted):
        assert interpreted["median"] == {"error": 0, "kept": 0}

    def test_stops_where_the_reference_stops(self, interpreted):
        for level in interpreted["levels"]:
            assert level["taken"] == level["expected_taken"] == level["stops"]
            assert level["error"] < 1e-4
            assert level["motion"] > 0.5

    def test_strips_and_segments_join_without_a_seam(self, interpreted):
        cut = interpreted["cut"]
        assert cut["taken"] == cut["expected_taken"]
        assert cut["error"] < 1e-4

    def test_neither_batch_nor_segments_change_a_bit(self, interpreted):
        assert interpreted["cut"]["alone"]
        assert interpreted["cut"]["segments"]


@pytest.mark.gpu
class TestOnTheDevice:
    def test_equals_torch_operations(self):
        generator = torch.Generator().manual_seed(7)
        coarse = torch.rand((1, 1, 40, 50), generator=generator) * 255
        texture = torch.nn.functional.interpolate(coarse, (200, 260), mode="bicubic")[0, 0]
        frames = torch.stack([texture[20 + n : 148 + n, 30 - n : 200 - n] for n in range(9)])
        grey = frames.clamp(0, 255).to(torch.uint8).cuda()
        recipe = FlowRecipe()
        ours = GpuFlowEngine("cuda", "triton").compute_tensor(grey, recipe)
        theirs = GpuFlowEngine("cuda", "torch").compute_tensor(grey, recipe)
        assert (ours - theirs).norm(dim=-1).mean() < 0.02
        alone = GpuFlowEngine("cuda", "triton").compute_tensor(grey[4:6], recipe)
        assert torch.equal(alone[0], ours[4])
        assert torch.equal(GpuFlowEngine("cuda").compute_tensor(grey, recipe), ours)
