"""Requirements of a process beyond the base install, checked before they are loaded."""

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
    """Return the missing packages of an extra, without importing any of it."""
    return [name for name in NEEDS[extra] if importlib.util.find_spec(name) is None]
