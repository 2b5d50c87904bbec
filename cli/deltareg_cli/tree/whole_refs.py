"""Digests that stand alone on a command line: each becomes the reference of its version."""

import re
from typing import cast

import click

from deltareg_cli.invocation import Invocation

_ALONE = re.compile(r"(?:deltareg://)?sha256:[0-9a-f]{6,64}…?")
_REFS = frozenset({"ref", "refs", "a", "b", "parents", "of", "successor"})
"""The parameters that take references."""
_OF_DIGESTS = frozenset({"cache", "audit"})
"""The groups whose parameters take digests as they are."""


def name_versions(ctx: click.Context, invocation: Invocation) -> None:
    """Replace every digest that stands where a reference may by the version that it names."""
    if _OF_DIGESTS & set(ctx.command_path.split()):
        return
    for name, value in ctx.params.items():
        if name not in _REFS:
            continue
        if isinstance(value, str):
            ctx.params[name] = _name(invocation, value)
        elif isinstance(value, tuple):
            parts = cast("tuple[object, ...]", value)
            ctx.params[name] = tuple(_name(invocation, one) if isinstance(one, str) else one for one in parts)


def _name(invocation: Invocation, text: str) -> str:
    digest, equals, weight = text.partition("=")  # a merge gives each of its parents a weight
    if not _ALONE.fullmatch(digest):
        return text
    return invocation.client.show(digest.removesuffix("…")).ref + equals + weight
