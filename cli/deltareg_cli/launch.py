"""Starts the processes of the other packages in place of this one; imports none of them."""

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from deltareg.errors import Misconfigured

# What a process needs beyond the base install, by extra; the first import that is missing tells.
NEEDS = {
    "server": ("fastapi", "uvicorn", "sqlalchemy", "alembic", "pydantic_settings"),
    "verify": ("torch", "transformers", "pydantic_settings"),
}


def become(
    module: str, *args: str, extras: Sequence[str], environ: Mapping[str, str] | None = None
) -> NoReturn:
    """Run `python -m module args` in place of this process.

    Args:
        module: A package of this project with a `__main__`.
        args: Its arguments.
        extras: What must be installed for it.
        environ: Variables beside those of this process.

    Raises:
        Misconfigured: An extra is not installed.
    """
    for extra in extras:
        require(extra)
    line = [sys.executable, "-m", module, *args]
    os.execve(sys.executable, line, {**os.environ, **(environ or {})})  # noqa: S606  # our own module


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


def given(**options: object) -> list[str]:
    """Write options that were given as words of a command line: `data_dir` as `--data-dir`."""
    words: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            words += [flag, str(value)]
    return words
