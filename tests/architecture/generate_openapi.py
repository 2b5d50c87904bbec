"""Write `docs/openapi.json` from the app; `make docs` runs this with `--write`."""

import json

from tests.architecture.generated import compare_or_write
from tests.architecture.tree import PACKAGES, REPOSITORY

PAGE = REPOSITORY / "docs" / "openapi.json"
APP = PACKAGES["deltareg"] / "api" / "app.py"


def generate() -> str:
    """Give the OpenAPI document of the app, as it is kept in docs."""
    from deltareg.api.app import openapi_document

    return json.dumps(openapi_document(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    compare_or_write(PAGE, generate)
