"""Versions with what a pull of them takes, in one answer: a line of JSON, then the bytes that it names."""

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import ValidationError

from deltareg.errors import InvalidInput
from deltareg.wire.messages import Answer
from deltareg.wire.versions import VersionDetail

BUNDLE_TYPE: Final = "application/vnd.deltareg.bundle"
BUNDLED_MOST: Final = 16
"""Versions of one bundle."""
_END = b"\n"


class BundlePart(Answer):
    """Some of the bytes behind the line: the manifest or the storage map of a version, or of a pack.

    `version` is its place among the versions of the bundle; `digest` is that of a pack, which comes
    from `begin` on, or is whole without one.
    """

    kind: Literal["manifest", "storage", "pack"]
    version: int
    digest: str = ""
    begin: int | None = None
    size_bytes: int


class BundleHead(Answer):
    """The first line of a bundle: the versions in the order in which they were asked for, and its parts in order.

    What is too large is left out and fetched by itself, as is all of a version that the caller has.
    """

    versions: list[VersionDetail]
    parts: list[BundlePart] = []


def write_bundle(head: BundleHead, contents: Sequence[bytes]) -> bytes:
    """Write a bundle; the contents are those of its parts."""
    return b"".join((head.model_dump_json().encode(), _END, *contents))


def read_bundle(raw: bytes) -> tuple[BundleHead, list[memoryview]]:
    """Read a bundle into its head and the contents of its parts.

    Raises:
        InvalidInput: It is none, or not whole.
    """
    line, _, _ = raw.partition(_END)
    try:
        head = BundleHead.model_validate_json(line)
    except ValidationError as error:
        raise InvalidInput("the answer is no bundle of versions", fix="try again") from error
    view, begin = memoryview(raw), len(line) + len(_END)
    contents: list[memoryview] = []
    for part in head.parts:
        contents.append(view[begin : begin + part.size_bytes])
        begin += part.size_bytes
    if begin != len(raw) or any(not 0 <= part.version < len(head.versions) for part in head.parts):
        raise InvalidInput("a bundle of versions came with another length than it says", fix="try again")
    return head, contents
