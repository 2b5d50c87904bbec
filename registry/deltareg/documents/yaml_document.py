"""YAML as people write it, read strictly: plain values only, no duplicate key, no hidden types.

Suites and policies are written in it. JSON is YAML as well, so documents made by programs are read
in the same way.
"""

# PyYAML is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Iterator, Sequence
from typing import cast

import yaml

from deltareg.documents.json_values import is_object
from deltareg.errors import InvalidInput

MOST_BYTES = 1 << 20
_MOST_DEPTH = 16


class _StrictLoader(yaml.SafeLoader):
    """Refuses what readers of a file could miss: a duplicate key, an alias, a date."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node; refuse aliases, a few of which can expand to gigabytes."""
        if self.check_event(yaml.AliasEvent):
            mark = cast(yaml.Mark, self.peek_event().start_mark)  # type: ignore[no-untyped-call]  # its stubs
            raise yaml.MarkedYAMLError(None, None, "an alias: write the value out", mark)
        return super().compose_node(parent, index)


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[object, object]:
    mapping: dict[object, object] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.MarkedYAMLError(None, None, f"the key {key!r} is no text: put it in quotes", key_node.start_mark)
        if key in mapping:
            raise yaml.MarkedYAMLError(None, None, f"{key!r} is given twice", key_node.start_mark)
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


def _text(loader: _StrictLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


def _refuse_tag(_: _StrictLoader, node: yaml.Node) -> object:
    raise yaml.MarkedYAMLError(None, None, f"the tag {node.tag}: values are plain, and nothing is run", node.start_mark)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)
_StrictLoader.add_constructor(None, _refuse_tag)
# A time stays as it was written: whoever reads it knows what zone and precision it wants.
_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", _text)


def read_yaml(raw: bytes, *, what: str) -> dict[str, object]:
    """Read one YAML document that is a mapping at its top.

    Args:
        raw: The file's bytes, UTF-8.
        what: Its name in messages: `suite`, `policy`.

    Raises:
        InvalidInput: It is not such a document; the message names line and column.
    """
    if len(raw) > MOST_BYTES:
        raise InvalidInput(f"a {what} has at most {MOST_BYTES >> 20} MiB, not {len(raw)} bytes")
    try:
        value: object = yaml.load(raw.decode("utf-8-sig"), _StrictLoader)  # noqa: S506  # it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidInput(
            f"the {what} is no valid YAML{where}: {error.problem or error.context}", fix="mend that line and try again"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidInput(f"the {what} is no valid YAML: {error}") from error
    if not is_object(value):
        raise InvalidInput(f"a {what} is a mapping of keys to values", fix="begin with `key: value`")
    if _depth(value) > _MOST_DEPTH:
        raise InvalidInput(f"a {what} is nested at most {_MOST_DEPTH} deep")
    return value


def find_line(raw: bytes, path: Sequence[str | int]) -> int:
    """Return the line, from 1, of the value at a path of a document that `read_yaml` has read.

    Steps that are not in the document are left out, so a value that was written short is found, too.
    """
    node = yaml.compose(raw.decode("utf-8-sig"), _StrictLoader)  # it is a SafeLoader
    line = 0
    for step in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
            if found is not None:
                line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line
    return line + 1


class _Dumper(yaml.SafeDumper):
    """Writes every value where it belongs, without aliases, and indents items."""

    def ignore_aliases(self, data: object) -> bool:
        """Write repeated values again instead of using aliases."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002  # its signature
        """Indent the items of a list as well."""
        super().increase_indent(flow, indentless=False)


_Dumper.add_multi_representer(str, lambda dumper, word: dumper.represent_str(str(word)))


def write_yaml(value: object, *, is_ascii: bool = False) -> str:
    """Write a JSON value as readable YAML, keys in their order.

    Args:
        value: The value.
        is_ascii: Whether to escape characters beyond ASCII, which could deceive readers of a
            terminal.
    """
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=not is_ascii, width=100)
    return text.removesuffix("...\n")


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(v) for v in cast("dict[str, object]", value).values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(item) for item in cast("list[object]", value)), default=0)
    return 0


def key_lines(raw: bytes) -> dict[str, int]:
    """Return the line of every key and item of a document that `read_yaml` reads, by path.

    A path is written `freeze[0].zone`; a key's line is where the key stands.
    """
    return dict(_lines(yaml.compose(raw.decode("utf-8-sig"), _StrictLoader), ""))


def _lines(node: yaml.Node | None, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = f"{path}.{key.value}" if path else str(key.value)
            yield below, key.start_mark.line + 1
            yield from _lines(value, below)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            below = f"{path}[{number}]"
            yield below, item.start_mark.line + 1
            yield from _lines(item, below)
