"""Trains one stream of a narrow Inception-I3D on trimmed clips, from scratch or on, on a CPU.

Owns the loop; `clip_augmentation` owns what a clip may look like. The same seed, thread count and
machine give the same weights.

Source: a measured trial on drawn clips (AdamW, one cycle with peak 4e-3, batch norm momentum 0.1,
bf16, channels last) chose the defaults; docs/decisions.md has the reasons.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.inception_i3d import END_POINTS, InceptionI3d
from models.errors import TrainingDataInvalid
from models.training.clip_augmentation import (
    AugmentationSettings,
    batch_of,
    center_view,
    cut_view,
    flow_batch,
    rgb_batch,
)
from models.types import ByteArray, IntArray
from models.weights import load_strictly

StateDict = dict[str, Tensor]
LogEntry = dict[str, float]
LogCallback = Callable[[LogEntry], None]

# torch's one-cycle schedule divides by the length of its warm-up less one step.
LEAST_SCHEDULE_STEPS = 16
STREAM_CHANNELS = {"rgb": 3, "flow": 2}
# On maps of 2 x 4 x 4 the bf16 weight gradient of torch 2.12's 3x3x3 convolution reads memory
# that nobody wrote and may come out as anything (seen); these modules are cheap in float32.
FLOAT32_END_POINTS = frozenset({"MaxPool3d_5a_2x2", "Mixed_5b", "Mixed_5c"})


@dataclass(frozen=True, slots=True)
class BackboneTrainingSettings:
    """Everything that decides a training run.

    Attributes:
        stream: "rgb" or "flow"; the clips' last dimension must be 3 or 2.
        num_classes: of the softmax, background included.
        width: channel multiplier of the network.
        num_frames, crop_px: of the window the network sees.
        peak_learning_rate: of the one-cycle schedule; warm-up lasts ``warmup_share`` of it.
        batch_norm_momentum: weight of a new batch in the running statistics.
        bf16: convolutions in bfloat16, weights and optimiser in float32.
        num_threads: of torch; 0 leaves them as they are.
    """

    stream: str
    num_classes: int
    width: float = 0.25
    num_frames: int = 16
    crop_px: int = 112
    epochs: int = 14
    batch_size: int = 32
    peak_learning_rate: float = 4e-3
    warmup_share: float = 0.25
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    dropout: float = 0.3
    batch_norm_momentum: float = 0.1
    gradient_norm: float = 5.0
    bf16: bool = True
    num_threads: int = 0
    seed: int = 0
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)


def train_backbone(
    clips: ByteArray,
    labels: IntArray,
    settings: BackboneTrainingSettings,
    on_log: LogCallback | None = None,
    initial: Mapping[str, Tensor] | None = None,
) -> tuple[StateDict, list[LogEntry]]:
    """Train one stream.

    Args:
        clips: uint8[N, F, H, W, C]; RGB frames, or flow as 8-bit levels. F, H and W may exceed
            the window: its place is drawn anew each time.
        labels: int64[N] in [0, num_classes).
        settings: see there.
        on_log: called once per epoch with numbers fit for one line of JSON.
        initial: state dict to go on from; its classifier is left out where its classes are of
            another number. None starts from scratch.

    Returns:
        The last epoch's state dict (float32, contiguous) and all log entries.

    Raises:
        TrainingDataInvalid: shapes, stream or labels do not fit together.
        WeightsInvalid: the initial weights are of another network.
    """
    _check_clips(clips, labels, settings)
    with _seeded(settings):
        network = _build_network(settings)
        if initial is not None:
            _begin_with(network, initial)
        optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=settings.peak_learning_rate,
            weight_decay=settings.weight_decay,
        )
        batches = max(1, len(clips) // settings.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=settings.peak_learning_rate,
            total_steps=max(settings.epochs * batches, LEAST_SCHEDULE_STEPS),
            pct_start=settings.warmup_share,
        )
        rng = np.random.Generator(np.random.PCG64(settings.seed))
        log: list[LogEntry] = []
        for epoch in range(1, settings.epochs + 1):
            started = time.monotonic()
            loss_sum = correct = seen = 0.0
            for x, y in _training_batches(clips, labels, settings, rng):
                loss, hits = _train_step(network, optimizer, x, y, settings)
                schedule.step()
                loss_sum += loss * len(y)
                correct += hits
                seen += len(y)
            seconds = time.monotonic() - started
            log.append(
                {
                    "epoch": epoch,
                    "loss": loss_sum / seen,
                    "accuracy": correct / seen,
                    "learning_rate": float(schedule.get_last_lr()[0]),
                    "seconds": seconds,
                    "milliseconds_per_clip": 1000 * seconds / seen,
                }
            )
            if on_log is not None:
                on_log(log[-1])
    state = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
    return state, log


def classify_clips(
    clips: ByteArray, state: StateDict, settings: BackboneTrainingSettings
) -> IntArray:
    """Return the winning class of each clip's middle window, int64[N], without any augmentation."""
    with _seeded(settings), torch.inference_mode():
        network = _build_network(settings)
        network.load_state_dict(state, strict=True)
        network.eval()
        winners = []
        for start in range(0, len(clips), settings.batch_size):
            views = [
                center_view(clip, settings.num_frames, settings.crop_px)
                for clip in clips[start : start + settings.batch_size]
            ]
            winners.append(network(batch_of(views)).argmax(dim=1).numpy())
    return np.concatenate(winners) if winners else np.zeros(0, np.int64)


@contextmanager
def _seeded(settings: BackboneTrainingSettings) -> Iterator[None]:
    """Fix torch's generator and thread count, and put both back afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if settings.num_threads > 0:
            torch.set_num_threads(settings.num_threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _build_network(settings: BackboneTrainingSettings) -> InceptionI3d:
    network = InceptionI3d(
        in_channels=STREAM_CHANNELS[settings.stream],
        num_classes=settings.num_classes,
        width=settings.width,
        dropout=settings.dropout,
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = settings.batch_norm_momentum
        elif isinstance(module, nn.Conv3d) and module.bias is None:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    for parameter in network.parameters():
        if parameter.ndim == len("OIDHW"):
            parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
    return network


def _begin_with(network: InceptionI3d, initial: Mapping[str, Tensor]) -> None:
    """Load initial weights; a classifier of another number of classes stays freshly drawn."""
    fresh = {
        name: tensor for name, tensor in network.state_dict().items() if name.startswith("logits.")
    }
    same_classes = all(
        name in initial and initial[name].shape == tensor.shape for name, tensor in fresh.items()
    )
    state = dict(initial) if same_classes else {**initial, **fresh}
    load_strictly(network, state, "the initial backbone")


def _training_batches(
    clips: ByteArray,
    labels: IntArray,
    settings: BackboneTrainingSettings,
    rng: np.random.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch in random order; an incomplete last batch is left out unless it is alone."""
    join = rgb_batch if settings.stream == "rgb" else flow_batch
    order = rng.permutation(len(clips))
    whole = max(1, len(clips) // settings.batch_size)
    for index in range(whole):
        chosen = order[index * settings.batch_size : (index + 1) * settings.batch_size]
        views = [
            cut_view(clips[i], settings.num_frames, settings.crop_px, settings.augmentation, rng)
            for i in chosen
        ]
        yield join(views, settings.augmentation, rng), torch.from_numpy(labels[chosen])


def _train_step(
    network: InceptionI3d,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    settings: BackboneTrainingSettings,
) -> tuple[float, float]:
    """Take one step; return the loss and the number of clips classified right."""
    network.train()
    logits = _forward(network, x, bf16=settings.bf16)
    loss = F.cross_entropy(logits, y, label_smoothing=settings.label_smoothing)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_norm)
    optimizer.step()
    return float(loss.detach()), float((logits.argmax(dim=1) == y).sum())


def _forward(network: InceptionI3d, x: Tensor, *, bf16: bool) -> Tensor:
    """Return logits float32[B, C]; the network's own forward, with a precision per module."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        for name in END_POINTS:
            if name not in FLOAT32_END_POINTS:
                x = network.get_submodule(name)(x)
    x = x.float()
    for name in END_POINTS:
        if name in FLOAT32_END_POINTS:
            x = network.get_submodule(name)(x)
    logits: Tensor = network.logits(network.dropout(x.mean(dim=(2, 3, 4))))
    return logits


def _check_clips(clips: ByteArray, labels: IntArray, settings: BackboneTrainingSettings) -> None:
    channels = STREAM_CHANNELS.get(settings.stream)
    if channels is None:
        message = f"The stream must be one of {sorted(STREAM_CHANNELS)}, got {settings.stream!r}."
        raise TrainingDataInvalid(message)
    smallest = (settings.num_frames, settings.crop_px, settings.crop_px)
    if (
        clips.dtype != np.uint8
        or clips.ndim != len("NFHWC")
        or clips.shape[-1] != channels
        or any(have < need for have, need in zip(clips.shape[1:4], smallest, strict=True))
    ):
        message = (
            f"Clips of the {settings.stream} stream must be uint8[N, F, H, W, {channels}] with "
            f"F, H, W of at least {smallest}, got {clips.dtype}{list(clips.shape)}."
        )
        raise TrainingDataInvalid(message)
    if labels.shape != clips.shape[:1] or len(labels) == 0:
        message = f"Need one label for each of {len(clips)} clips, got {list(labels.shape)}."
        raise TrainingDataInvalid(message)
    if labels.min() < 0 or labels.max() >= settings.num_classes:
        message = (
            f"Labels must lie in 0..{settings.num_classes - 1}, got "
            f"{int(labels.min())}..{int(labels.max())}."
        )
        raise TrainingDataInvalid(message)
