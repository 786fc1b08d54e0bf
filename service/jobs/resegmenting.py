"""Segments made again from stored evidence, with other thresholds: numpy alone, no worker.

Also the way to the activations themselves. Nothing is written: a job's result stays as it is.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from models.errors import EvidenceInvalid, OptionInvalid
from models.evidence import Evidence, labels_seen, make_segments
from models.evidence_file import read_evidence, read_json_activations
from models.exports import selected
from models.exports.native import render_labels_seen, render_segments
from models.overrides import LocalizeOverrides
from models.types import Activations
from service.errors import EvidenceMissing, InvalidOption, ResultNotFound
from service.jobs.commands import JobCore, JobView, get_result
from service.jobs.records import ResultRecord
from service.jobs.store import reading

JSON_ENDING = ".json"
"""Of the keys under which releases before evidence files stored activations."""

CACHE_BYTES = 64 * 1024 * 1024
"""About 15 hours of a model with 20 classes, or some hundred ten-minute videos."""


class EvidenceCache:
    """The evidence used last, ready to be cut again. Safe from any thread.

    Blobs are never changed and their keys never used twice, so nothing here goes stale; who may
    see a key is decided before it is asked for.

    Args:
        max_bytes: of arrays, all entries together.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[Evidence, int]] = OrderedDict()
        self._held_bytes = 0

    def get(self, key: str) -> Evidence | None:
        """Return what is kept under a key, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: str, evidence: Evidence) -> None:
        """Keep an entry, and let the oldest go; one that alone is too large is not kept."""
        size_bytes = _size_bytes(evidence)
        with self._lock:
            if size_bytes > self._max_bytes or key in self._entries:
                return
            self._entries[key] = (evidence, size_bytes)
            self._held_bytes += size_bytes
            while self._held_bytes > self._max_bytes:
                _, (_, freed_bytes) = self._entries.popitem(last=False)
                self._held_bytes -= freed_bytes


@dataclass(frozen=True, slots=True)
class StoredActivations:
    """The activations behind a result.

    Attributes:
        activations: as the head gave them.
        seconds: float64[T], the middle of each step.
        duration_seconds: of the video.
        thresholds: at which this job's segments were cut out of the curves; None where the head
            proposes them by itself, or where this is not known.
    """

    activations: Activations
    seconds: NDArray[np.float64]
    duration_seconds: float
    thresholds: tuple[float, ...] | None = None


def resegment(
    core: JobCore, cache: EvidenceCache, job_id: str, changes: Mapping[str, Any]
) -> tuple[JobView, dict[str, Any]]:
    """Make a job's segments again under changed options.

    Args:
        core: bound to the tenant.
        cache: of this process.
        job_id: of a job that succeeded.
        changes: go before the job's own options, key by key; a key given as None takes the
            model's own setting.

    Returns:
        The job, and a native result; with no changes exactly the stored one.

    Raises:
        JobNotFound: there is no such job.
        ResultNotReady: it has not ended.
        ResultNotFound: it ended without a result.
        EvidenceMissing: nothing usable was kept.
        InvalidOption: an option is out of its range or does not fit the model.
    """
    view, native = get_result(core, job_id)
    evidence = _evidence(core, cache, view)
    options = {**view.job.options, **changes}
    try:
        overrides = LocalizeOverrides.from_json(
            {name: value for name, value in options.items() if value is not None}
        )
        overrides.check_labels(evidence.activations.classes)
        segments = make_segments(evidence, overrides)
    except OptionInvalid as error:
        raise InvalidOption(str(error)) from error
    again = {
        **native,
        "segments": render_segments(segments),
        "labels_seen": render_labels_seen(labels_seen(evidence, overrides)),
    }
    return view, selected(again, overrides)


def stored_activations(
    core: JobCore, cache: EvidenceCache, job_id: str
) -> tuple[JobView, StoredActivations]:
    """Return a job and the activations behind its result.

    Raises:
        JobNotFound: there is no such job.
        ResultNotReady: it has not ended.
        ResultNotFound: it ended without a result, or nothing usable was kept.
    """
    view, native = get_result(core, job_id)
    duration_seconds = float(native["video"]["duration"])
    key = _key(core, view)
    try:
        if key is not None and key.endswith(JSON_ENDING):
            old = read_json_activations(core.blobs.get_bytes(key))
            return view, StoredActivations(*old, duration_seconds)
        evidence = _evidence(core, cache, view)
    except (FileNotFoundError, EvidenceInvalid, EvidenceMissing) as error:
        message = "No activations were kept for this job; submit the video again to have them."
        raise ResultNotFound(message) from error
    thresholds = _thresholds(evidence, view.job.options)
    return view, StoredActivations(
        evidence.activations, evidence.step_seconds(), duration_seconds, thresholds
    )


def _thresholds(evidence: Evidence, options: Mapping[str, Any]) -> tuple[float, ...] | None:
    settings = LocalizeOverrides.from_json(options).proposals(evidence.proposals)
    return settings.thresholds if settings.source == "thresholds" else None


def _evidence(core: JobCore, cache: EvidenceCache, view: JobView) -> Evidence:
    key = _key(core, view)
    if key is not None and not key.endswith(JSON_ENDING):
        evidence = cache.get(key)
        if evidence is not None:
            return evidence
        try:
            evidence = read_evidence(core.blobs.get_bytes(key))
        except (FileNotFoundError, EvidenceInvalid) as error:
            raise EvidenceMissing(_MISSING) from error
        cache.put(key, evidence)
        return evidence
    raise EvidenceMissing(_MISSING)


_MISSING = (
    "No evidence was kept from which this job's segments could be made again; submit the video "
    "again with the options you want."
)


def _key(core: JobCore, view: JobView) -> str | None:
    statement = select(ResultRecord.activations_key).where(ResultRecord.job_id == view.job.id)
    with reading(core.engine) as session:
        return session.execute(statement).scalar_one_or_none()


def _size_bytes(evidence: Evidence) -> int:
    activations = evidence.activations
    arrays: list[NDArray[Any] | None] = [
        activations.localization,
        activations.scoring,
        activations.attention,
        activations.window_scores,
        evidence.times.ticks,
        *activations.stream_attention.values(),
    ]
    own = activations.proposals
    if own is not None:
        arrays += [own.class_index, own.steps, own.raw_scores]
    distinct = {id(one): one.nbytes for one in arrays if one is not None}
    return sum(distinct.values())
