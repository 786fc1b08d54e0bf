"""What Schemathesis is told about this API: things that exist, raw bodies, no long waits.

Loaded by path (SCHEMATHESIS_HOOKS). KNOWN names, by path parameter, ids of things that the test
made; half of the generated ids are replaced by them, so that both what is there and what is not
is asked for.
"""

import json
import os
import zlib

import schemathesis
from hypothesis import strategies as st

KNOWN = json.loads(os.environ.get("KINETAG_FUZZ_KNOWN", "{}"))
RAW_TYPES = ("application/octet-stream", "application/offset+octet-stream", "video/mp4")
MAX_WAIT_SECONDS = 0.1

for media_type in RAW_TYPES:
    schemathesis.openapi.media_type(media_type, st.binary(max_size=64))


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    for name, known in KNOWN.items():
        value = (path_parameters or {}).get(name)
        if value is not None and zlib.crc32(str(value).encode()) % 2:
            path_parameters[name] = known
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    # A valid wait is a minute at most: thousands of them are not worth it.
    wait = (query or {}).get("wait")
    if isinstance(wait, int | float) and not isinstance(wait, bool) and wait > MAX_WAIT_SECONDS:
        query["wait"] = MAX_WAIT_SECONDS if wait <= 60 else wait
    return query
