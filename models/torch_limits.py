"""How torch computes features: its threads, the same numbers every time, one error for memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from models.errors import OutOfMemory

CPU_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "bad_alloc")


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use this many threads per operation inside the block; process-wide."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def reproducible_convolutions() -> Iterator[None]:
    """Let a GPU's convolutions be chosen by rule and computed in one order; process-wide.

    Trying out algorithms would let two runs of one video differ, and TF32 is not fp32. On a
    processor nothing changes.
    """
    with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
        yield


@contextmanager
def torch_memory() -> Iterator[None]:
    """Turn torch's several ways of saying that memory ran out into OutOfMemory."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        message = "Memory ran out while computing features; use a smaller batch or another device."
        raise OutOfMemory(message) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in CPU_MEMORY_WORDS):
            raise
        message = "Memory ran out while computing features; use a smaller batch or another machine."
        raise OutOfMemory(message) from error
