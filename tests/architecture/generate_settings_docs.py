"""Write `docs/settings.md` from the settings classes; `make docs` runs this with `--write`."""

import json
from collections.abc import Iterator

from pydantic import SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from tests.architecture.generated import compare_or_write
from tests.architecture.tree import REPOSITORY

PAGE = REPOSITORY / "docs" / "settings.md"
INTRODUCTION = """\
# Settings

Each process reads its settings from the environment when it starts, and from nowhere else. The
page is written from the settings classes by `make docs`; a test compares the two.
"""


def classes() -> dict[str, type[BaseSettings]]:
    """Give every settings class under the process that reads it."""
    import deltareg.settings
    import deltareg_verify.settings

    return {
        "The server (`deltareg-server`)": deltareg.settings.Settings,
        "The worker (`deltareg-worker`)": deltareg_verify.settings.Settings,
    }


def variables(cls: type[BaseSettings]) -> Iterator[tuple[str, FieldInfo]]:
    """Give each variable of a settings class with its field."""
    prefix = cls.model_config.get("env_prefix", "")
    for name, field in cls.model_fields.items():
        alias = field.validation_alias
        yield (alias if isinstance(alias, str) else f"{prefix}{name}".upper()), field


def generate() -> str:
    """Give the text of the page."""
    return "\n".join([INTRODUCTION, *(section(title, cls) for title, cls in classes().items())])


def section(title: str, cls: type[BaseSettings]) -> str:
    """Write the table of one class."""
    rows = [
        f"| `{name}` | {default(field)} | {field.description} |" for name, field in variables(cls)
    ]
    return "\n".join(
        [f"## {title}", "", "| variable | default | what it does |", "|---|---|---|", *rows, ""]
    )


def default(field: FieldInfo) -> str:
    """Write a default as one would set it; secrets and computed defaults are not shown."""
    value = field.default
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "computed"
    if value is None or value == "" or isinstance(value, SecretStr | SecretBytes):
        return "unset"
    if isinstance(value, bool | list | tuple | dict):
        return f"`{json.dumps(value)}`"
    return f"`{value}`"


if __name__ == "__main__":
    compare_or_write(PAGE, generate)
