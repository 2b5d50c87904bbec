"""What a process needs beyond the base install, looked for before any of it is loaded."""

import importlib.util

from deltareg.errors import Misconfigured

# By extra; the first import that is missing tells.
NEEDS = {
    "server": ("fastapi", "uvicorn", "sqlalchemy", "alembic", "pydantic_settings"),
    "verify": ("torch", "transformers", "pydantic_settings"),
}


def require(extra: str) -> None:
    """Refuse to go on without an extra.

    Raises:
        Misconfigured: It is not installed.
    """
    missing = missing_of(extra)
    if missing:
        raise Misconfigured(
            f"this needs the {extra} part, which is not installed ({', '.join(missing)})",
            fix="pip install 'deltareg[all]'",
        )


def missing_of(extra: str) -> list[str]:
    """Name what an extra would bring and is not there, without importing any of it."""
    return [name for name in NEEDS[extra] if importlib.util.find_spec(name) is None]
