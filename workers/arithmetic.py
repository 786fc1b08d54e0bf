"""Which arithmetic a video's chunks are computed in: what is stored, what this machine can do.

An arithmetic is what `models.features.FeatureExtractor.computed_with` says of it: precision,
kernels, versions, the kind of processor. Two are the same when all of that is.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

Arithmetic = Mapping[str, str]

GIVEN_KEYS = ("arithmetic", "torch", "device", "cpu")
"""What no setting of a worker changes."""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Settings under which a machine may compute as another one does by default."""

    precision: str
    batch_size: int


def adjustment(
    wanted: Arithmetic, own: Arithmetic, precisions: AbstractSet[str]
) -> Adjustment | None:
    """Return settings that may turn this machine's own arithmetic into the one that is wanted.

    Args:
        wanted: by the job.
        own: of this machine by default.
        precisions: that this machine has hardware for; emulated, one of them could give other
            numbers under the same name.

    Returns:
        None where no settings can do it. Whether those returned do is seen from what the
        extractor then says of itself.
    """
    if any(wanted.get(key) != own.get(key) for key in GIVEN_KEYS):
        return None
    precision = wanted.get("precision", "")
    if precision not in precisions:
        return None
    batch_size = wanted.get("batch_size", "")
    if not batch_size.isdecimal() or int(batch_size) < 1:
        return None
    return Adjustment(precision, int(batch_size))


def choose_arithmetic(
    stored: Mapping[int, Arithmetic],
    num_chunks: int,
    own: Arithmetic,
    can: Callable[[Arithmetic], bool],
) -> tuple[Arithmetic, frozenset[int]]:
    """Choose the arithmetic of a video's chunks so that most of what is stored can stay.

    Args:
        stored: chunk number -> arithmetic, of what is stored; numbers may be missing.
        num_chunks: of the video.
        own: of this machine by default.
        can: whether this machine can compute in another one.

    Returns:
        The arithmetic, and the chunks that are stored in it. A complete set of one kind is kept
        whoever made it; of an incomplete one, the most frequent kind that can be gone on with.
    """
    kinds = {index: _frozen(one) for index, one in stored.items() if index < num_chunks}
    counts = Counter(kinds.values())
    # Ties go to the own kind, then to an order that does not depend on the store's.
    ranked = sorted(counts, key=lambda kind: (-counts[kind], kind != _frozen(own), kind))
    for kind in ranked:
        complete = counts[kind] == num_chunks
        if complete or kind == _frozen(own) or can(dict(kind)):
            return dict(kind), frozenset(index for index, one in kinds.items() if one == kind)
    return own, frozenset()


def _frozen(arithmetic: Arithmetic) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(arithmetic.items()))
