"""One chunk on its way: how far it is, whether it was told to stop, and what has come out."""

from collections.abc import Generator, Iterator, Sequence

from torch import Tensor

from models.errors import Cancelled
from models.frame_windows import ChunkPlan, Frames
from models.types import ByteArray, FloatArray, Progress, ProgressCallback, StopCallback

Block = tuple[ByteArray, ByteArray]


class ExtractionRun:
    """Progress and stopping of one chunk, told and asked in the caller's thread only.

    Args:
        plan: of the chunk.
        on_progress: hears the stage that is waited for and the fraction that is done.
        should_stop: asked whenever progress is told.
    """

    def __init__(
        self,
        plan: ChunkPlan,
        on_progress: ProgressCallback | None,
        should_stop: StopCallback | None,
    ) -> None:
        self._num_frames = plan.stop_frame - plan.start_frame
        self._num_windows = plan.num_windows
        self._frames_done = 0
        self._windows_done = 0.0
        self._on_progress = on_progress
        self._should_stop = should_stop

    def report(self, stage: str) -> None:
        """Tell progress.

        Raises:
            Cancelled: a stop is wanted.
        """
        if self._should_stop is not None and self._should_stop():
            message = "The extraction was stopped."
            raise Cancelled(message)
        if self._on_progress is not None:
            frames = min(1.0, self._frames_done / self._num_frames)
            windows = min(1.0, self._windows_done / self._num_windows)
            # Both kinds of work move on by turns, so their mean moves evenly.
            self._on_progress(Progress(stage, (frames + windows) / 2))

    def decoding(self, blocks: Iterator[Block]) -> Generator[Block, None, None]:
        """Pass decoded blocks on, if no stop is wanted."""
        self.report("decoding")
        for block in blocks:
            yield block
            self.report("decoding")

    def flowing(self, blocks: Iterator[Frames]) -> Generator[Frames, None, None]:
        """Pass prepared blocks on, counting their frames."""
        self.report("flow")
        for block in blocks:
            self._frames_done += len(next(iter(block.values())))
            self.report("flow")
            yield block

    def collect(
        self, embedded: Iterator[Tensor], streams: Sequence[str]
    ) -> dict[str, list[FloatArray]]:
        """Return stream -> [float32[b, D], ...] of features that come stream by stream."""
        parts: dict[str, list[FloatArray]] = {stream: [] for stream in streams}
        for index, features in enumerate(embedded):
            parts[streams[index % len(streams)]].append(features.cpu().numpy())
            self._windows_done += len(features) / len(streams)
            self.report("features")
        return parts
