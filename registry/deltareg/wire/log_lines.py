"""The log of a server as lines, read part by part, as `audit export --proofs` writes it."""

from collections.abc import Callable, Iterator

from deltareg.trail.lines import FORM, Line
from deltareg.wire.trail import TrailCheckpoint, TrailPage

PART = 1_000
ReadPart = Callable[[str | None], TrailPage]
"""Gives the part of the log that begins where another ended; the first for None."""


def log_lines(read: ReadPart, *, server: str) -> Iterator[Line]:
    """Yield the lines of a log in order, each after everything that it refers to.

    Args:
        read: Requests a part from the server.
        server: The server's address, for whoever reads the lines.
    """
    part = read(None)
    yield {"form": FORM, "origin": part.origin, "server": server}
    while True:
        yield from _lines(part)
        if part.after is None:
            break
        part = read(part.after)
    yield {"end": True, "size": part.size}


def _lines(part: TrailPage) -> Iterator[Line]:
    nodes = sorted(part.nodes, key=lambda node: (node.number + 1) << 8 * node.level)
    signed = sorted(part.checkpoints, key=lambda checkpoint: checkpoint.size)
    for entry in part.entries:
        line = entry.model_dump(mode="json")
        yield line if entry.statement else {k: v for k, v in line.items() if k != "statement"}
        until = entry.position + 1
        while nodes and (nodes[0].number + 1) << 8 * nodes[0].level <= until:
            yield {"node": nodes.pop(0).model_dump(mode="json")}
        while signed and signed[0].size <= until:
            yield _checkpoint(signed.pop(0))
    for node in nodes:
        yield {"node": node.model_dump(mode="json")}
    for checkpoint in signed:
        yield _checkpoint(checkpoint)
    for row in part.outside:
        yield {"outside": row.leaf, "is_waiting": row.is_waiting}
    for each in part.state:
        yield {"state": each.subject, "says": each.says}


def _checkpoint(checkpoint: TrailCheckpoint) -> Line:
    return {"checkpoint": checkpoint.note, "size": checkpoint.size}
