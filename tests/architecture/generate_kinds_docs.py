"""Write `docs/kinds.md`, the table of kinds; `make docs` runs this with `--write`."""

import inspect
import re
from collections import defaultdict
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import deltareg.delta.kinds
from deltareg.delta.kind import KindReader
from deltareg.delta.kinds import all_kinds
from tests.architecture.generated import compare_or_write
from tests.architecture.tree import REPOSITORY

PAGE = REPOSITORY / "docs" / "kinds.md"
INTRODUCTION = """\
# Kinds

What this registry reads, recognises by evidence and accounts for tensor by tensor. A delta that
*folds* changes stored weights only: it can be materialised and merged. One that does not acts on
activations or puts vectors before the tokens, and is attached to the running network.
`deltareg lint` says of a folder what it is; whatever is not here is refused by name. How to add
one: [add-a-kind.md](howto/add-a-kind.md). This page is written from the code by `make docs`; a
test compares the two.
"""
FOLDS = {True: "yes", False: "no, attached only"}


def modules() -> dict[str, ModuleType]:
    """Give the file of every reader, by its layout."""
    found: dict[str, ModuleType] = {}
    for info in iter_modules(deltareg.delta.kinds.__path__):
        module = import_module(f"deltareg.delta.kinds.{info.name}")
        for value in vars(module).values():
            is_own = not isinstance(value, type) or value.__module__ == module.__name__
            layout = getattr(value, "layout", None)
            if is_own and isinstance(layout, str) and all_kinds().get(layout) is value:
                found[layout] = module
    return found


def generate() -> str:
    """Give the text of the page."""
    readers: dict[str, list[KindReader]] = defaultdict(list)
    for kind in all_kinds().values():
        readers[kind.name].append(kind)
    places = modules()
    return "\n".join([INTRODUCTION, *(section(n, readers[n], places) for n in sorted(readers))])


def section(name: str, readers: list[KindReader], places: dict[str, ModuleType]) -> str:
    """Write the table of one kind."""
    rows = [row(reader, places[reader.layout]) for reader in sorted(readers, key=lambda r: r.layout)]
    head = ["| layout | variant | folds | what it is |", "|---|---|---|---|"]
    return "\n".join([f"## {name}", "", *head, *rows, ""])


def row(reader: KindReader, module: ModuleType) -> str:
    """Write one row."""
    variant, foldable = getattr(reader, "variant", ""), getattr(reader, "foldable", None)
    shown = variant if isinstance(variant, str) and variant else ""
    folds = FOLDS[foldable] if isinstance(foldable, bool) else "as its parts do"
    link = f"../registry/deltareg/delta/kinds/{module.__name__.rpartition('.')[2]}.py"
    return f"| [{reader.layout}]({link}) | {shown} | {folds} | {summary(module)} |"


def summary(module: ModuleType) -> str:
    """Give the first sentence of a file, without the full stop."""
    text = " ".join((inspect.getdoc(module) or "").split("\n\n", maxsplit=1)[0].split())
    return re.split(r"\.(?=\s+[A-Z]|\s*$)", text, maxsplit=1)[0].replace("|", "\\|")


if __name__ == "__main__":
    compare_or_write(PAGE, generate)
