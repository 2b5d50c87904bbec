"""Reads a settings file as text and changes one line without touching the others."""

import re
from collections.abc import Sequence
from pathlib import Path

from deltareg.errors import InvalidInput

_PROFILE = re.compile(r"[A-Za-z0-9_-]+")


def read_settings(path: Path) -> dict[str, object]:
    """Return what a settings file holds; a missing file holds nothing.

    Raises:
        InvalidInput: The file is not TOML.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    from deltareg.documents.toml_document import parse_toml  # most folders have no such file

    try:
        return parse_toml(content)
    except ValueError as error:
        raise InvalidInput(f"{path} is not TOML: {error}", fix=f"edit {path}") from error


def set_value(path: Path, key: str, text: str, *, profile: str | None = None) -> None:
    """Write one setting into a file and leave other lines as they are; create the file if needed.

    The caller has checked the key and the text.

    Raises:
        InvalidInput: The file is not TOML, or the profile is not a name.
    """
    if profile and not _PROFILE.fullmatch(profile):
        raise InvalidInput(f"not a profile: {profile[:60]!r}", fix="use letters, digits, _ and -")
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    _edit(path, key, f'{key} = "{quoted}"', profile=profile)


def unset_value(path: Path, key: str, *, profile: str | None = None) -> None:
    """Remove one setting from a file and leave other lines as they are.

    Raises:
        InvalidInput: The file does not have the setting.
    """
    if not _edit(path, key, None, profile=profile):
        raise InvalidInput(f"{key} is not set in {path}", fix="deltareg config list --show-origin")


def _edit(path: Path, key: str, line: str | None, *, profile: str | None) -> bool:
    """Replace, add or (with None) remove a key's line in its table; return whether it was there."""
    read_settings(path)  # refuses what is not TOML before touching it
    was_there = False

    def edit(before: bytes | None) -> bytes | None:
        nonlocal was_there
        lines = (before or b"").decode().splitlines()
        was_there = _edit_lines(lines, key, line, profile=profile)
        text = "".join(f"{text}\n" for text in lines)
        from deltareg.documents.toml_document import parse_toml  # as above

        parse_toml(text.encode())
        return text.encode() if before is not None or lines else None

    from deltareg.host.shared_files import change_file  # as above

    change_file(path, edit)
    return was_there


def _edit_lines(lines: list[str], key: str, line: str | None, *, profile: str | None) -> bool:
    start, stop = _table(lines, f"[profiles.{profile}]" if profile else "")
    pattern = re.compile(rf"\s*{re.escape(key)}\s*=")
    at = next((i for i in range(start, stop) if pattern.match(lines[i])), None)
    if at is not None:
        lines[at : at + 1] = [line] if line else []
    elif line is None:
        return False
    elif start < 0:
        lines += [*([""] if lines else []), f"[profiles.{profile}]", line]
    else:
        _add(lines, line, start=start, stop=stop)
    return at is not None


def _add(lines: list[str], line: str, *, start: int, stop: int) -> None:
    """Add a line to a table, before the blank lines that separate it from the next."""
    while stop > start and not lines[stop - 1].strip():
        stop -= 1
    lines[stop:stop] = [line]


def _table(lines: Sequence[str], header: str) -> tuple[int, int]:
    """Find the lines of a table, or of the top of the file; start is -1 if it is missing."""
    heads = [i for i, text in enumerate(lines) if text.lstrip().startswith("[")]
    if not header:
        return 0, heads[0] if heads else len(lines)
    at = next((i for i in heads if lines[i].split("#")[0].strip() == header), None)
    if at is None:
        return -1, -1
    return at + 1, next((i for i in heads if i > at), len(lines))
