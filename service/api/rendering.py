"""Results in the format a client wants: by ``?format=`` or by the Accept header."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from starlette.responses import Response

from service.api.schemas import JobOptions
from service.errors import NotAcceptable

ResultFormat = Literal["native", "activitynet", "csv"]

MEDIA_TYPES: dict[ResultFormat, str] = {
    "native": "application/json",
    "activitynet": "application/vnd.activitynet+json",
    "csv": "text/csv",
}


def choose_format(accept: str | None) -> ResultFormat:
    """Return the format an Accept header asks for; native when it leaves the choice to us.

    Source: RFC 9110, 12.5.1: the most specific range that matches decides a type's quality.

    Raises:
        NotAcceptable: it excludes every format there is.
    """
    ranges = _media_ranges(accept) if accept else {"*/*": 1.0}
    qualities = {name: _quality(media_type, ranges) for name, media_type in MEDIA_TYPES.items()}
    best = max(qualities, key=lambda name: qualities[name])
    if qualities[best] <= 0:
        offered = ", ".join(MEDIA_TYPES.values())
        message = f"The result is offered as {offered}; accept one of them."
        raise NotAcceptable(message)
    return best


def _media_ranges(accept: str) -> dict[str, float]:
    ranges = {}
    for part in accept.split(","):
        name, *parameters = (word.strip().lower() for word in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        ranges[name] = quality
    return ranges


def _quality(media_type: str, ranges: Mapping[str, float]) -> float:
    kind = media_type.partition("/")[0]
    for name in (media_type, f"{kind}/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return 0.0


def apply_options(native: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a native result without the segments that the job's options exclude."""
    chosen = JobOptions.model_validate(options)
    segments = [
        segment
        for segment in native["segments"]
        if segment["score"] >= chosen.min_score
        and (chosen.labels is None or segment["label"] in chosen.labels)
    ]
    return {**native, "segments": segments}


def render_result(native: dict[str, Any], result_format: ResultFormat) -> Response:
    """Render a native result in a format."""
    from models.exports import to_activitynet, to_csv  # noqa: PLC0415 - only where it is needed

    headers = {"Vary": "Accept"}
    if result_format == "csv":
        return Response(to_csv(native), media_type="text/csv", headers=headers)
    document = to_activitynet(native) if result_format == "activitynet" else native
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return Response(text, media_type=MEDIA_TYPES[result_format], headers=headers)
