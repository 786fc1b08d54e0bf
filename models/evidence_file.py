"""Evidence as one file: an npz that numpy opens without pickle, versioned and checksummed.

Arrays are kept bit for bit; everything else stands as JSON in the array ``header``. Each array
carries the zip format's CRC-32, which is checked whenever it is read. The same evidence always
gives the same bytes.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.config import ProposalSettings, settings_from_json, settings_to_json
from models.errors import EvidenceInvalid, PipelineError
from models.evidence import Evidence
from models.localize.calibration import calibration_from_json
from models.presentation import PresentationTimes
from models.timegrid import TimeGrid
from models.types import Activations, HeadProposals

FORMAT = 1
HEADER = "header"
MEMBER_ENDING = ".npy"
STREAM_PREFIX = "attention_"
COMPRESSION_LEVEL = 6
NO_DATE = (1980, 1, 1, 0, 0, 0)
"""Source: the earliest moment that a zip archive can express; files are equal whenever made."""

STEP_TYPES = (np.uint8, np.uint16, np.uint32, np.uint64)
AnyArray = NDArray[Any]


def write_evidence(evidence: Evidence) -> bytes:
    """Return the evidence as the bytes of an npz file.

    Arrays: ``localization``, ``attention``, ``video_scores``, ``seconds`` (float64[T], the middle
    of each step), ``frame_steps`` (clock ticks from each source frame to the next), ``header``;
    where there are any ``scoring`` (absent: it is the localization), ``window_scores``,
    ``proposal_class_index``, ``proposal_steps``, ``proposal_raw_scores``, and ``attention_rgb``,
    ``attention_flow`` of heads that look at each stream by itself.
    """
    activations, times = evidence.activations, evidence.times
    header = {
        "format": FORMAT,
        "classes": list(activations.classes),
        "grid": {
            "fps": evidence.grid.fps,
            "window_frames": evidence.grid.window_frames,
            "stride_frames": evidence.grid.stride_frames,
            "duration_seconds": evidence.grid.duration_seconds,
        },
        "proposals": settings_to_json(evidence.proposals),
        "calibration": None if evidence.calibration is None else evidence.calibration.to_json(),
        "time_base": [times.time_base.numerator, times.time_base.denominator],
    }
    arrays: dict[str, AnyArray] = {
        HEADER: np.frombuffer(json.dumps(header, allow_nan=False).encode(), np.uint8),
        "seconds": evidence.step_seconds(),
        "frame_steps": _narrowed(np.diff(times.ticks)),
        **activation_arrays(activations),
    }
    return pack_arrays(arrays)


def activation_arrays(activations: Activations) -> dict[str, AnyArray]:
    """Return the arrays of activations by name; what is not there is left out."""
    arrays: dict[str, AnyArray] = {
        "localization": activations.localization,
        "attention": activations.attention,
        "video_scores": activations.video_scores,
    }
    if not np.array_equal(activations.scoring, activations.localization):
        arrays["scoring"] = activations.scoring
    if activations.window_scores is not None:
        arrays["window_scores"] = activations.window_scores
    own = activations.proposals
    if own is not None:
        arrays["proposal_class_index"] = own.class_index
        arrays["proposal_steps"] = own.steps
        arrays["proposal_raw_scores"] = own.raw_scores
    for stream, values in activations.stream_attention.items():
        arrays[STREAM_PREFIX + stream] = values
    return arrays


def pack_arrays(arrays: Mapping[str, AnyArray]) -> bytes:
    """Return arrays as an npz file, compressed, the same bytes for the same arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(name + MEMBER_ENDING, NO_DATE)
            content = array_bytes(array)
            archive.writestr(member, content, zipfile.ZIP_DEFLATED, COMPRESSION_LEVEL)
    return buffer.getvalue()


def array_bytes(array: AnyArray) -> bytes:
    """Return one array as an npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def read_evidence(content: bytes) -> Evidence:
    """Restore what `write_evidence` wrote, value for value.

    Raises:
        EvidenceInvalid: it is damaged, or of a release that this one does not understand.
    """
    try:
        arrays = _read_arrays(content)
        header = json.loads(arrays[HEADER].tobytes())
        if header["format"] != FORMAT:
            message = (
                f"The stored evidence has format {header['format']!r}, which this release does "
                "not know; update Kinetag."
            )
            raise EvidenceInvalid(message)
        return Evidence(
            activations=_activations(arrays, tuple(header["classes"])),
            grid=TimeGrid(**header["grid"]),
            proposals=settings_from_json(ProposalSettings, header["proposals"]),
            calibration=calibration_from_json(header["calibration"]),
            times=PresentationTimes(Fraction(*header["time_base"]), _ticks(arrays["frame_steps"])),
        )
    except EvidenceInvalid:
        raise
    except (
        zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError,
        ArithmeticError, NotImplementedError, PipelineError,
    ) as error:  # fmt: skip
        message = "The stored evidence is damaged; submit the video again to have it made anew."
        raise EvidenceInvalid(message) from error


def _read_arrays(content: bytes) -> dict[str, AnyArray]:
    arrays: dict[str, AnyArray] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            # Read whole, because only so the checksum is looked at.
            member = io.BytesIO(archive.read(name))
            arrays[name.removesuffix(MEMBER_ENDING)] = np.lib.format.read_array(
                member, allow_pickle=False
            )
    return arrays


def _activations(arrays: Mapping[str, AnyArray], classes: tuple[str, ...]) -> Activations:
    own = None
    if "proposal_steps" in arrays:
        own = HeadProposals(
            class_index=arrays["proposal_class_index"],
            steps=arrays["proposal_steps"],
            raw_scores=arrays["proposal_raw_scores"],
        )
    localization = arrays["localization"]
    return Activations(
        localization=localization,
        scoring=arrays.get("scoring", localization),
        video_scores=arrays["video_scores"],
        attention=arrays["attention"],
        classes=classes,
        window_scores=arrays.get("window_scores"),
        proposals=own,
        stream_attention={
            name.removeprefix(STREAM_PREFIX): array
            for name, array in arrays.items()
            if name.startswith(STREAM_PREFIX)
        },
    )


def _narrowed(steps: AnyArray) -> AnyArray:
    """Return non-negative integers in the narrowest unsigned type that holds them."""
    highest = int(steps.max()) if len(steps) else 0
    kind = next(one for one in STEP_TYPES if highest <= np.iinfo(one).max)
    return steps.astype(kind)


def _ticks(steps: AnyArray) -> NDArray[np.int64]:
    ticks = np.zeros(len(steps) + 1, np.int64)
    np.cumsum(steps, dtype=np.int64, out=ticks[1:])
    return ticks


def read_json_activations(content: bytes) -> tuple[Activations, NDArray[np.float64]]:
    """Read what releases before evidence files stored: activations as JSON.

    Returns:
        The activations, and float64[T], the middle of each step in seconds.

    Raises:
        EvidenceInvalid: it is damaged.
    """
    try:
        document = json.loads(content)
        localization = np.array(document["localization"], np.float32)
        scoring, curves = document.get("scoring"), document.get("window_scores")
        own = document.get("proposals")
        activations = Activations(
            localization=localization,
            scoring=localization if scoring is None else np.array(scoring, np.float32),
            video_scores=np.array(document["video_scores"], np.float32),
            attention=np.array(document["attention"], np.float32),
            classes=tuple(document["classes"]),
            window_scores=None if curves is None else np.array(curves, np.float32),
            proposals=None
            if own is None
            else HeadProposals(
                class_index=np.array(own["class_index"], np.int64),
                steps=np.array(own["steps"], np.float64).reshape(-1, 2),
                raw_scores=np.array(own["raw_scores"], np.float64),
            ),
        )
        return activations, np.array(document["seconds"], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        message = "The stored activations are damaged; submit the video again."
        raise EvidenceInvalid(message) from error
