"""One worked example per address, as /docs shows it and a test runs it against a live service.

Each is a shell command. Its variables are `$KINETAG`, where the service is, and the ids that
earlier examples returned. What a command returned when it was last recorded lies beside this
module in `example_answers.json`; the test compares status and shape with what it returns now.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ANSWERS = Path(__file__).with_name("example_answers.json")
JSON_BODY = "-H 'Content-Type: application/json' -d"
TUS = "-H 'Tus-Resumable: 1.0.0'"


@dataclass(frozen=True, slots=True)
class Example:
    """One request.

    Attributes:
        address: method and path as documented.
        command: for a shell.
        status: of the answer.
        keeps: shell variables for later examples, each by its key in the answer's JSON, or by
            ``Location`` for the last part of that header.
        uses: shell variables of this example that earlier ones kept under another name.
        when: the kept variable of the job or batch that has to have ended before.
        title: what it shows, where an address has several.
    """

    address: str
    command: str
    status: int
    keeps: Mapping[str, str] = field(default_factory=dict)
    uses: Mapping[str, str] = field(default_factory=dict)
    when: str | None = None
    title: str | None = None


EXAMPLES = (
    # Getting video in.
    Example(
        "POST /v1/videos",
        'curl -F video=@cam3.mp4 -F camera=dock "$KINETAG/v1/videos"',
        201,
        {"VIDEO": "id"},
        title="A file",
    ),
    Example(
        "POST /v1/videos",
        'curl -X POST -T cam3.mp4 -H "Content-Type: video/mp4" "$KINETAG/v1/videos?name=a.mp4"',
        201,
        {"SAME_VIDEO": "id"},
        title="The bytes alone",
    ),
    Example(
        "POST /v1/videos",
        f"""curl {JSON_BODY} '{{"url": "https://videos.example/a.mp4"}}' "$KINETAG/v1/videos\"""",
        202,
        title="From elsewhere",
    ),
    Example("GET /v1/videos", 'curl "$KINETAG/v1/videos?camera=dock&page_size=1"', 200),
    # A job, from upload to segments.
    Example(
        "POST /v1/jobs",
        'curl -F video=@cam3.mp4 -F tag=store-12 "$KINETAG/v1/jobs"',
        202,
        {"JOB": "id"},
        title="With the video",
    ),
    Example(
        "POST /v1/jobs",
        f"""curl {JSON_BODY} '{{"video_id": "'$VIDEO'", "options": {{"min_score": 0.3}},
  "recorded_at": "2026-11-20T22:30:00+01:00"}}' "$KINETAG/v1/jobs\"""",
        202,
        title="For a video that is there",
    ),
    Example(
        "POST /v1/jobs",
        f"""curl {JSON_BODY} '{{"url": "https://videos.example/cam4.mp4"}}' "$KINETAG/v1/jobs\"""",
        202,
        {"URL_JOB": "id"},
        title="For a video elsewhere",
    ),
    Example(
        "POST /v1/jobs/{job_id}/cancel",
        'curl -X POST "$KINETAG/v1/jobs/$JOB/cancel"',
        202,
        uses={"JOB": "URL_JOB"},
    ),
    Example(
        "POST /v1/jobs/{job_id}/retry",
        'curl -X POST "$KINETAG/v1/jobs/$JOB/retry"',
        202,
        {"RETRIED": "id"},
        uses={"JOB": "URL_JOB"},
    ),
    Example("GET /v1/jobs/{job_id}", 'curl "$KINETAG/v1/jobs/$JOB?wait=30"', 200, when="JOB"),
    Example("GET /v1/jobs", 'curl "$KINETAG/v1/jobs?tag=store-12&page_size=1"', 200),
    Example("GET /v1/jobs/{job_id}/events", 'curl -N "$KINETAG/v1/jobs/$JOB/events"', 200),
    # Results.
    Example("GET /v1/jobs/{job_id}/result", 'curl "$KINETAG/v1/jobs/$JOB/result"', 200),
    Example(
        "GET /v1/jobs/{job_id}/result",
        'curl -H "Accept: text/csv" "$KINETAG/v1/jobs/$JOB/result"',
        200,
        title="As CSV",
    ),
    Example(
        "GET /v1/jobs/{job_id}/activations",
        'curl "$KINETAG/v1/jobs/$JOB/activations?points=4"',
        200,
    ),
    Example(
        "GET /v1/jobs/{job_id}/timeline.svg",
        'curl -o timeline.svg "$KINETAG/v1/jobs/$JOB/timeline.svg?width=1200"',
        200,
    ),
    Example(
        "GET /v1/jobs/{job_id}/timeline.png",
        'curl -o timeline.png "$KINETAG/v1/jobs/$JOB/timeline.png?theme=dark&scale=2"',
        200,
    ),
    Example(
        "POST /v1/jobs/{job_id}/resegment",
        f"""curl {JSON_BODY} '{{"min_score": 0.1}}' "$KINETAG/v1/jobs/$JOB/resegment\"""",
        200,
    ),
    Example("GET /v1/videos/{video_id}", 'curl "$KINETAG/v1/videos/$VIDEO"', 200),
    Example(
        "GET /v1/videos/{video_id}/content",
        'curl -r 0-99 -o first.bin "$KINETAG/v1/videos/$VIDEO/content"',
        206,
    ),
    Example(
        "HEAD /v1/videos/{video_id}/content", 'curl -I "$KINETAG/v1/videos/$VIDEO/content"', 200
    ),
    Example(
        "GET /v1/videos/{video_id}/thumbnails",
        'curl "$KINETAG/v1/videos/$VIDEO/thumbnails?info=true"',
        200,
    ),
    # Resumable uploads.
    Example("OPTIONS /v1/uploads", f'curl -i -X OPTIONS {TUS} "$KINETAG/v1/uploads"', 204),
    Example(
        "POST /v1/uploads",
        f"""curl -i -X POST {TUS} -H "Upload-Length: $(stat -c %s cam3.mp4)" \\
  -H "Upload-Metadata: filename $(printf cam3.mp4 | base64)" "$KINETAG/v1/uploads\"""",
        201,
        {"UPLOAD": "Location"},
    ),
    Example("HEAD /v1/uploads/{upload_id}", f'curl -I {TUS} "$KINETAG/v1/uploads/$UPLOAD"', 200),
    Example(
        "PATCH /v1/uploads/{upload_id}",
        f"""curl -i -X PATCH {TUS} -H 'Upload-Offset: 0' \\
  -H 'Content-Type: application/offset+octet-stream' \\
  --data-binary @cam3.mp4 "$KINETAG/v1/uploads/$UPLOAD\"""",
        204,
    ),
    Example("GET /v1/uploads/{upload_id}", 'curl "$KINETAG/v1/uploads/$UPLOAD"', 200),
    Example(
        "DELETE /v1/uploads/{upload_id}",
        f'curl -X DELETE {TUS} "$KINETAG/v1/uploads/$UPLOAD"',
        204,
    ),
    # Archives.
    Example(
        "POST /v1/batches",
        f"""curl {JSON_BODY} '{{"name": "Monday", "items": [{{"video_id": "'$VIDEO'"}}]}}' \\
  "$KINETAG/v1/batches\"""",
        202,
        {"BATCH": "id"},
    ),
    Example("GET /v1/batches", 'curl "$KINETAG/v1/batches?page_size=1"', 200),
    Example("GET /v1/batches/{batch_id}", 'curl "$KINETAG/v1/batches/$BATCH"', 200),
    Example(
        "GET /v1/batches/{batch_id}/items",
        'curl "$KINETAG/v1/batches/$BATCH/items?page_size=1"',
        200,
    ),
    Example(
        "GET /v1/batches/{batch_id}/result",
        'curl "$KINETAG/v1/batches/$BATCH/result?format=csv"',
        200,
        when="BATCH",
    ),
    Example(
        "GET /v1/batches/{batch_id}/sheet",
        'curl -o sheet.html "$KINETAG/v1/batches/$BATCH/sheet"',
        200,
    ),
    Example(
        "GET /v1/batches/{batch_id}/deliveries",
        'curl "$KINETAG/v1/batches/$BATCH/deliveries"',
        200,
    ),
    Example(
        "POST /v1/batches",
        'curl -F archive=@monday.zip "$KINETAG/v1/batches"',
        202,
        title="A ZIP archive",
    ),
    Example(
        "POST /v1/batches",
        f"""curl {JSON_BODY} '{{"items": [{{"url": "https://videos.example/a.mp4"}}]}}' \\
  "$KINETAG/v1/batches\"""",
        202,
        {"URL_BATCH": "id"},
        title="Videos elsewhere",
    ),
    Example(
        "POST /v1/batches/{batch_id}/cancel",
        'curl -X POST "$KINETAG/v1/batches/$BATCH/cancel"',
        202,
        uses={"BATCH": "URL_BATCH"},
    ),
    Example(
        "POST /v1/batches/{batch_id}/retry",
        'curl -X POST "$KINETAG/v1/batches/$BATCH/retry"',
        202,
        uses={"BATCH": "URL_BATCH"},
        when="URL_BATCH",
    ),
    Example(
        "DELETE /v1/batches/{batch_id}",
        'curl -X DELETE "$KINETAG/v1/batches/$BATCH"',
        202,
        uses={"BATCH": "URL_BATCH"},
    ),
    # Search.
    Example(
        "GET /v1/segments",
        'curl "$KINETAG/v1/segments?camera=dock&min_score=0.5&order=score&page_size=2"',
        200,
    ),
    Example("GET /v1/segments/facets", 'curl "$KINETAG/v1/segments/facets"', 200),
    Example(
        "POST /v1/searches",
        f"""curl {JSON_BODY} '{{"name": "At the dock, for sure",
  "filter": {{"camera": ["dock"], "min_score": 0.8}}}}' "$KINETAG/v1/searches\"""",
        201,
        {"SEARCH": "id"},
    ),
    Example("GET /v1/searches", 'curl "$KINETAG/v1/searches"', 200),
    Example("GET /v1/searches/{search_id}", 'curl "$KINETAG/v1/searches/$SEARCH"', 200),
    Example(
        "PUT /v1/searches/{search_id}",
        f"""curl -X PUT {JSON_BODY} '{{"name": "At the dock",
  "filter": {{"camera": ["dock"], "min_score": 0.7, "min_duration": 2}}}}' \\
  "$KINETAG/v1/searches/$SEARCH\"""",
        200,
    ),
    Example(
        "PATCH /v1/searches/{search_id}",
        f"""curl -X PATCH {JSON_BODY} '{{"name": "Dock"}}' "$KINETAG/v1/searches/$SEARCH\"""",
        200,
    ),
    Example(
        "POST /v1/searches/{search_id}/webhook",
        f"""curl {JSON_BODY} '{{"url": "https://hooks.example/dock"}}' \\
  "$KINETAG/v1/searches/$SEARCH/webhook\"""",
        201,
    ),
    Example(
        "DELETE /v1/searches/{search_id}",
        'curl -X DELETE "$KINETAG/v1/searches/$SEARCH"',
        204,
    ),
    # Webhooks.
    Example(
        "POST /v1/webhooks",
        f"""curl {JSON_BODY} '{{"url": "https://hooks.example/kinetag",
  "events": ["segment.detected", "job.failed"], "min_score": 0.8}}' "$KINETAG/v1/webhooks\"""",
        201,
        {"WEBHOOK": "id"},
    ),
    Example("GET /v1/webhooks", 'curl "$KINETAG/v1/webhooks"', 200),
    Example("GET /v1/webhooks/{webhook_id}", 'curl "$KINETAG/v1/webhooks/$WEBHOOK"', 200),
    Example(
        "PATCH /v1/webhooks/{webhook_id}",
        f"""curl -X PATCH {JSON_BODY} '{{"labels": ["fall"]}}' "$KINETAG/v1/webhooks/$WEBHOOK\"""",
        200,
    ),
    Example(
        "POST /v1/webhooks/{webhook_id}/rotate",
        'curl -X POST "$KINETAG/v1/webhooks/$WEBHOOK/rotate"',
        200,
    ),
    Example(
        "POST /v1/webhooks/{webhook_id}/test",
        'curl -X POST "$KINETAG/v1/webhooks/$WEBHOOK/test"',
        202,
        {"DELIVERY": "id"},
    ),
    Example(
        "GET /v1/webhooks/{webhook_id}/deliveries",
        'curl "$KINETAG/v1/webhooks/$WEBHOOK/deliveries?page_size=1"',
        200,
    ),
    Example(
        "POST /v1/webhooks/deliveries/{delivery_id}/resend",
        'curl -X POST "$KINETAG/v1/webhooks/deliveries/$DELIVERY/resend"',
        202,
    ),
    Example("GET /v1/jobs/{job_id}/deliveries", 'curl "$KINETAG/v1/jobs/$JOB/deliveries"', 200),
    Example(
        "DELETE /v1/webhooks/{webhook_id}",
        'curl -X DELETE "$KINETAG/v1/webhooks/$WEBHOOK"',
        204,
    ),
    # On web pages of other origins.
    Example(
        "POST /v1/embed-tokens",
        f"""curl {JSON_BODY} '{{"job": "'$JOB'", "origins": ["https://dash.example"]}}' \\
  "$KINETAG/v1/embed-tokens\"""",
        201,
    ),
    Example(
        "POST /v1/videos/{video_id}/ticket",
        'curl -X POST "$KINETAG/v1/videos/$VIDEO/ticket"',
        201,
    ),
    # Models, keys, the service itself.
    Example("GET /v1/models", 'curl "$KINETAG/v1/models"', 200),
    Example(
        "POST /v1/keys",
        f"""curl {JSON_BODY} '{{"name": "dashboard", "scopes": ["jobs:read"]}}' \\
  "$KINETAG/v1/keys\"""",
        201,
        {"KEY_ID": "id"},
    ),
    Example("GET /v1/keys", 'curl "$KINETAG/v1/keys"', 200),
    Example("GET /v1/keys/{key_id}", 'curl "$KINETAG/v1/keys/$KEY_ID"', 200),
    Example("DELETE /v1/keys/{key_id}", 'curl -X DELETE "$KINETAG/v1/keys/$KEY_ID"', 204),
    Example("GET /v1/usage", 'curl "$KINETAG/v1/usage"', 200),
    Example("GET /healthz", 'curl "$KINETAG/healthz"', 200),
    Example("GET /readyz", 'curl "$KINETAG/readyz"', 200),
    Example("GET /metrics", 'curl "$KINETAG/metrics"', 200),
    # At the end, because nothing is left of it.
    Example("DELETE /v1/jobs/{job_id}", 'curl -X DELETE "$KINETAG/v1/jobs/$JOB"', 204),
    Example(
        "DELETE /v1/videos/{video_id}",
        'curl -X DELETE "$KINETAG/v1/videos/$VIDEO?force=true"',
        204,
    ),
)


def recorded_answers() -> dict[str, Any]:
    """Return what each command returned when it was recorded; text where it is no JSON."""
    if not ANSWERS.exists():
        return {}
    answers: dict[str, Any] = json.loads(ANSWERS.read_text(encoding="utf-8"))
    return answers
