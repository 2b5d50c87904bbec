"""Write `docs/settings.md` from the settings classes; `make docs` runs this with `--write`."""

import json
from collections.abc import Iterator
from dataclasses import fields

from pydantic import SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from deltareg.client.config import SETTINGS
from deltareg.store.schemes import all_schemes
from deltareg_cli.commands.start.help import OTHER_VARIABLES
from tests.architecture.generated import compare_or_write
from tests.architecture.tree import REPOSITORY

PAGE = REPOSITORY / "docs" / "settings.md"
INTRODUCTION = """\
# Settings

The client takes a setting from the first place that has it: a flag, the environment,
`./deltareg.toml`, the profile in `config.toml`, the top of `config.toml`, the default.
`deltareg config list --show-origin` says which it was. The server and the worker read the
environment when they start, and nothing else. This page is written from the code by `make docs`; a
test compares the two.
"""
STORES = "The stores (`deltareg-server`, by the scheme of `DELTAREG_STORE_URL`)"
CLIENT = "The client and the command line (`deltareg`)"


def classes() -> dict[str, type[BaseSettings]]:
    """Give every settings class under the process that reads it."""
    import deltareg.api.settings
    import deltareg_verify.supervisor.settings

    return {
        "The server (`deltareg-server`)": deltareg.api.settings.ServerSettings,
        "The worker (`deltareg-worker`)": deltareg_verify.supervisor.settings.WorkerSettings,
    }


def variables(cls: type[BaseSettings]) -> Iterator[tuple[str, FieldInfo]]:
    """Give each variable of a settings class with its field."""
    prefix = cls.model_config.get("env_prefix", "")
    for name, field in cls.model_fields.items():
        alias = field.validation_alias
        yield (alias if isinstance(alias, str) else f"{prefix}{name}".upper()), field


def generate() -> str:
    """Give the text of the page."""
    processes = (section(title, process_rows(cls)) for title, cls in classes().items())
    stores = section(STORES, store_rows())
    return "\n".join([INTRODUCTION, section(CLIENT, client_rows()), *processes, stores])


def section(title: str, rows: Iterator[str]) -> str:
    """Write one table."""
    head = ["| variable | default | what it does |", "|---|---|---|"]
    return "\n".join([f"## {title}", "", *head, *rows, ""])


def client_rows() -> Iterator[str]:
    """Write the rows of the client and the command line."""
    for setting in SETTINGS:
        is_switch = setting.variable.startswith("DELTAREG_NO_")  # its default is the opposite
        shown = "unset" if is_switch or not setting.default else f"`{setting.default}`"
        yield f"| `{setting.variable}` | {shown} | {setting.summary} |"
    for name, summary in OTHER_VARIABLES:
        if name.startswith("DELTAREG_"):
            yield f"| `{name}` | unset | {summary} |"


def store_rows() -> Iterator[str]:
    """Write the rows of what stores are opened with."""
    for scheme in all_schemes().values():
        defaults = {field.name: field.default for field in fields(scheme.options)}
        for name, variable, setting in scheme.settings():
            shown = "unset" if defaults[name] is None else f"`{defaults[name]}`"
            yield f"| `{variable}` | {shown} | {setting.about} |"


def process_rows(cls: type[BaseSettings]) -> Iterator[str]:
    """Write the rows of a process."""
    for name, field in variables(cls):
        yield f"| `{name}` | {default(field)} | {field.description} |"


def default(field: FieldInfo) -> str:
    """Write a default as one would set it; secrets and computed defaults are not shown."""
    value = field.default
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "computed"
    if value in (None, "", ()) or isinstance(value, SecretStr | SecretBytes):
        return "unset"
    if isinstance(value, bool):
        return f"`{json.dumps(value)}`"
    return f"`{value}`"


if __name__ == "__main__":
    compare_or_write(PAGE, generate)
