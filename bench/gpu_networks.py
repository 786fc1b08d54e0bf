"""I3D and RAFT on the device for `bench.gpu`; random weights, because time does not depend on them.

RAFT is what stands beside TV-L1: the flow network that torchvision brings.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.gpu_roofline import Peaks, Work, convolution_work, seconds_of, torch_operations
from bench.report import Figure
from models.backbones.registry import STREAM_CHANNELS, build_backbone, load_backbone, random_weights
from models.recipe import FeatureRecipe
from models.torch_limits import reproducible_convolutions

# RAFT's encoder halves the frame three times.
RAFT_DIVISOR = 8
RAFT_MODELS = ("raft_large", "raft_small")


@dataclass(frozen=True, slots=True)
class BackboneBench:
    """What is measured of I3D.

    Attributes:
        recipe: of the features.
        dtype: of the networks.
        batches: windows at a time.
        repeats: of which the median counts.
        device: where.
    """

    recipe: FeatureRecipe
    dtype: torch.dtype
    batches: tuple[int, ...]
    repeats: int
    device: torch.device


def _window_shape(recipe: FeatureRecipe, stream: str, batch: int) -> tuple[int, ...]:
    side = recipe.crop_px
    return (batch, STREAM_CHANNELS[stream], recipe.window_frames, side, side)


def window_work(recipe: FeatureRecipe, stream: str) -> Work:
    """Count the convolutions of one window."""
    with torch.device("meta"):
        network = build_backbone(recipe, stream).eval()
        window = torch.empty(_window_shape(recipe, stream, 1))
    return convolution_work(lambda: _forward(network, window))


def load_networks(bench: BackboneBench) -> dict[str, nn.Module]:
    """Return each stream's network, ready on the device."""
    weights = random_weights(bench.recipe)
    networks = {}
    for stream in bench.recipe.streams:
        network = load_backbone(bench.recipe, stream, weights[stream])
        network.to(device=bench.device, dtype=bench.dtype)
        for parameter in network.parameters():
            if parameter.ndim == len("OIDHW"):
                parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
        networks[stream] = network
    return networks


def _forward(network: nn.Module, windows: Tensor) -> Tensor:
    features: Tensor = network.forward_features(windows)  # type: ignore[operator]
    return features


def graphed(network: nn.Module, windows: Tensor) -> Callable[[], object]:
    """Record the network's launches as a CUDA graph and return what replays it."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.inference_mode():
        for _ in range(3):
            _forward(network, windows)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        _forward(network, windows)
    return graph.replay


def measure_backbones(
    bench: BackboneBench, networks: dict[str, nn.Module], peaks: Peaks
) -> dict[str, Figure]:
    """Return windows per second of each stream, and its share of the measured peak.

    Convolutions are chosen by rule, as extraction has it; what the fastest choice would give
    stands beside.
    """
    figures: dict[str, Figure] = {"i3d_dtype": str(bench.dtype).removeprefix("torch.")}
    for stream, network in networks.items():
        rates, graph_rates, tuned_rates = {}, {}, {}
        for batch in bench.batches:
            shape = _window_shape(bench.recipe, stream, batch)
            windows = torch.randn(shape, device=bench.device).to(
                dtype=bench.dtype, memory_format=torch.channels_last_3d
            )

            def run(network: nn.Module = network, windows: Tensor = windows) -> Tensor:
                with torch.inference_mode():
                    return _forward(network, windows)

            with reproducible_convolutions():
                rates[batch] = batch / seconds_of(run, bench.device, bench.repeats)
                if bench.device.type == "cuda":
                    replay = graphed(network, windows)
                    seconds = seconds_of(replay, bench.device, bench.repeats)
                    graph_rates[batch] = batch / seconds
            with torch.backends.cudnn.flags(benchmark=True):
                tuned_rates[batch] = batch / seconds_of(run, bench.device, bench.repeats)
        best = max(rates.values())
        work = window_work(bench.recipe, stream)
        floor = work.seconds(peaks.bf16_flops, peaks.bytes_per_second)
        figures |= {
            f"i3d_{stream}_windows_per_second": best,
            f"i3d_{stream}_by_batch": {str(batch): rate for batch, rate in rates.items()},
            f"i3d_{stream}_graph_by_batch": {str(b): rate for b, rate in graph_rates.items()},
            f"i3d_{stream}_tuned_by_batch": {str(b): rate for b, rate in tuned_rates.items()},
            f"i3d_{stream}_operations_per_window": work.operations,
            f"i3d_{stream}_bytes_per_window": work.num_bytes,
            f"i3d_{stream}_share_of_peak": best * work.operations / peaks.bf16_flops,
            f"i3d_{stream}_roofline_windows_per_second": 1 / floor,
            f"i3d_{stream}_share_of_roofline": best * floor,
        }
    return figures


@dataclass(frozen=True, slots=True)
class RaftBench:
    """What is measured of RAFT.

    Attributes:
        height, width: of the frames; rounded up to what RAFT takes.
        batch: pairs at a time.
        updates: of the flow; 12 is torchvision's default.
        repeats: of which the median counts.
        device: where.
    """

    height: int
    width: int
    batch: int
    updates: int
    repeats: int
    device: torch.device


def measure_raft(bench: RaftBench, peaks: Peaks) -> dict[str, Figure]:
    """Return pairs per second of both sizes of RAFT, float32 and bf16 by autocast."""
    # Imported here: torchvision takes a while to load and only this part needs it.
    from torchvision.models import optical_flow  # type: ignore[import-untyped]

    height = -(-bench.height // RAFT_DIVISOR) * RAFT_DIVISOR
    width = -(-bench.width // RAFT_DIVISOR) * RAFT_DIVISOR
    shape = (bench.batch, 3, height, width)
    first, second = (torch.rand(shape, device=bench.device) * 2 - 1 for _ in range(2))
    figures: dict[str, Figure] = {"raft_frame_px": f"{width}x{height}", "raft_batch": bench.batch}
    for name in RAFT_MODELS:
        network = getattr(optical_flow, name)(weights=None, progress=False)
        network.eval().to(bench.device)

        def run(network: nn.Module = network) -> list[Tensor]:
            with torch.no_grad():
                flows: list[Tensor] = network(first, second, num_flow_updates=bench.updates)
                return flows

        operations = torch_operations(run) / bench.batch
        rate = bench.batch / seconds_of(run, bench.device, bench.repeats)
        figures |= {
            f"{name}_pairs_per_second": rate,
            f"{name}_operations_per_pair": operations,
            # Convolutions of float32 tensors run in TF32 by default.
            f"{name}_roofline_pairs_per_second": peaks.tf32_flops / operations,
            f"{name}_share_of_peak": rate * operations / peaks.tf32_flops,
        }
    return figures
