"""Write `docs/events.md`, the types of events; `make docs` runs this with `--write`."""

from itertools import groupby

from deltareg.service.telling.forms import all_forms
from deltareg.service.telling.types import PREFIX, TYPES, EventType
from tests.architecture.generated import compare_or_write
from tests.architecture.tree import REPOSITORY

PAGE = REPOSITORY / "docs" / "events.md"
INTRODUCTION = f"""\
# Types of events

Others are told of what stands here, and of nothing else: tokens, members, keys and settings are in
the audit trail, for admins ([how to hear of events](howto/events.md)). On the wire `{PREFIX}`
stands before each type. Every event has in its `data` the `ref` that it is about, which is its
`subject`, and the `actor`; where it is about a delta, `namespace` and `delta`; and the fields that
stand here, as far as they have a value. This
page is written from the code by `make docs`; a test compares the two.
"""


def generate() -> str:
    """Give the text of the page."""
    groups = groupby(named(), key=lambda each: each.name.partition(".")[0])
    return "\n".join([INTRODUCTION, *(section(name, list(types)) for name, types in groups), forms()])


def forms() -> str:
    """Write the table of forms."""
    head = ["## Forms", "", "| `--form` | media type | for whom |", "|---|---|---|"]
    rows = [f"| `{form.name}` | `{form.media_type}` | {form.about} |" for form in all_forms().values()]
    return "\n".join([*head, *rows, ""])


def named() -> list[EventType]:
    """Give each type once, by its first line in the table."""
    return list({each.name: each for each in reversed(TYPES)}.values())[::-1]


def section(group: str, types: list[EventType]) -> str:
    """Write the table of a group of types."""
    head = [f"## {group}", "", "| type | what happened | fields |", "|---|---|---|"]
    rows = [f"| `{each.name}` | {each.about} | {', '.join(f'`{name}`' for name in each.fields)} |" for each in types]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    compare_or_write(PAGE, generate)
