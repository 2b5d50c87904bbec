"""Write `docs/openapi.json` from the app; `make docs` runs this with `--write`."""

import json

from tests.architecture.generated import compare_or_write
from tests.architecture.tree import PACKAGES, REPOSITORY

PAGE = REPOSITORY / "docs" / "openapi.json"
APP = PACKAGES["deltareg"] / "api" / "app.py"


def generate() -> str:
    """Give the OpenAPI document of the app, as it is kept in docs."""
    from deltareg.api.app import create_app
    from deltareg.db.session import create_engine
    from deltareg.service.registry import Registry
    from deltareg.store import open_store

    registry = Registry(create_engine("sqlite:///never-opened.db"), open_store("memory://"))
    return json.dumps(create_app(registry).openapi(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    compare_or_write(PAGE, generate)
