"""The description of the REST interface as a file: `docs/openapi.json` is what this writes."""

import json
import sys
from pathlib import Path
from typing import Any

from service.settings import Settings


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document of the service; it does not depend on any setting."""
    from service.main import create_app  # noqa: PLC0415 - loads the web framework

    # Whether keys are required is a setting; the document says that they may be.
    settings = Settings().model_copy(update={"require_keys": False})
    document: dict[str, Any] = create_app(settings).openapi()
    return document


def openapi_text() -> str:
    """Return the document as a file's text: the order of addresses as declared, keys sorted."""
    return json.dumps(openapi_document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(openapi_text(), encoding="utf-8")
    else:
        sys.stdout.write(openapi_text())
