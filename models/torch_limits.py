"""What torch may use while it computes, and one error for when that was not enough."""

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
