"""A campaign: what becomes of all deltas of a base when another one takes its place."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from deltareg.client.asking.resolving import base_path, version_path
from deltareg.client.context import Context
from deltareg.client.paging import walk
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import Ref
from deltareg.wire import SCHEMA_VERSION, BaseDiff, BaseInfo, Fit, FitInfo, Page, SearchHit
from deltareg.wire.tables import rows_html

Outcome = Fit | Literal["done", "unread"]
OUTCOMES: tuple[Outcome, ...] = ("done", "verify", "merge", "retrain", "unread")
_PAGE = 200


@dataclass(frozen=True, slots=True)
class CampaignLine:
    """A line that stands on the old base.

    Attributes:
        line: The line.
        ref: The version that counts: the one that `prod` serves, or another channel, or else the
            newest.
        channels: The channels that serve it.
        kind: Its kind.
        outcome: `done` if the line has a version on the new base; `verify`, `merge` or `retrain` as
            the server decided; `unread` if its bytes cannot be read.
        reasons: Why it has that outcome.
        weights: How many of the base's weights it starts from.
        changed: How many of them have other values in the new base.
        moved: For a line that is done, its newest version on the new base.
        verdict: The verdict on that version; empty before there is one.
    """

    line: str
    ref: str
    channels: Sequence[str]
    kind: str
    outcome: Outcome
    reasons: Sequence[str] = ()
    weights: int = 0
    changed: int = 0
    moved: str = ""
    verdict: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return an item of `deltareg campaign --json`."""
        return {
            "line": self.line,
            "ref": self.ref,
            "outcome": self.outcome,
            "kind": self.kind,
            "channels": list(self.channels),
            "reasons": list(self.reasons),
            "weights": self.weights,
            "changed": self.changed,
            "moved": self.moved,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """What becomes of all lines of a base.

    Attributes:
        old: The base that they stand on.
        new: The base that is to take its place.
        parts: The parts in which the two differ: tensors, tokenizer, config, ….
        lines: The lines, ordered by their outcome.
    """

    old: str
    new: str
    parts: Sequence[str]
    lines: Sequence[CampaignLine]

    @property
    def counts(self) -> Mapping[Outcome, int]:
        """How many lines have each outcome."""
        return {each: sum(line.outcome == each for line in self.lines) for each in OUTCOMES}

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg campaign --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "old": self.old,
            "new": self.new,
            "parts": list(self.parts),
            "counts": dict(self.counts),
            "items": [line.to_dict() for line in self.lines],
        }

    def to_markdown(self) -> str:
        """Format it as Markdown, for an issue or a page."""
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items() if number)
        parts = ", ".join(self.parts) or "nothing"
        head = [
            f"## From {self.old} to {self.new}",
            "",
            f"{counts or 'Nothing stands on it'}. The bases differ in: {parts}.",
            "",
            "| to do | version | served by | kind | weights changed | why |",
            "|---|---|---|---|---|---|",
        ]
        return "\n".join([*head, *map(_row, self.lines), ""])

    def _repr_html_(self) -> str:
        return rows_html([line.to_dict() for line in self.lines])


def campaign(context: Context, old: str, new: str, *, within: str = "") -> CampaignReport:
    """Look at every readable line that stands on a base.

    Raises:
        NotFound: A base does not exist.
        InvalidInput: Both names mean the same base.
    """
    before, after = (context.api.get(base_path(name), BaseInfo) for name in (old, new))
    if before.name == after.name:
        raise InvalidInput(f"{old} and {new} are one base", fix="name the new one second")
    differing = context.api.get(f"{base_path(before.name)}/diff", BaseDiff, other=after.name)
    versions = _by_line(_on_base(context, before.name, within))
    moved = _by_line(_on_base(context, after.name, within))
    lines = [_line(context, name, found, after.name, done=moved.get(name, ())) for name, found in versions.items()]
    lines.sort(key=lambda each: (OUTCOMES.index(each.outcome), each.line))
    parts = [part.part for part in differing.differences]
    return CampaignReport(before.name, after.name, parts, lines)


def _on_base(context: Context, base: str, within: str) -> Iterable[SearchHit]:
    ask = partial(context.api.get, "/search", Page[SearchHit], limit=_PAGE, base=base)
    place = {"within": within} if within else {}
    return walk(lambda cursor: ask(cursor=cursor, **place))


def _by_line(hits: Iterable[SearchHit]) -> dict[str, list[SearchHit]]:
    """Group versions by line, newest first, without deleted and revoked ones."""
    by_line: dict[str, list[SearchHit]] = {}
    for hit in hits:
        if not hit.is_revoked:
            by_line.setdefault(f"{hit.namespace}/{hit.name}", []).append(hit)
    return by_line


def _line(
    context: Context, name: str, found: Sequence[SearchHit], new: str, *, done: Sequence[SearchHit]
) -> CampaignLine:
    hit = max(found, key=lambda each: ("prod" in each.channels, bool(each.channels), each.version))
    if done:
        newest = done[0]
        return CampaignLine(
            name, hit.ref, hit.channels, hit.kind, "done", moved=newest.ref, verdict=newest.verdict or ""
        )
    try:
        fit = context.api.get(f"{version_path(Ref.parse(hit.ref))}/fit", FitInfo, base=new)
    except NotFound as error:
        reasons = (error.message,)
        return CampaignLine(name, hit.ref, hit.channels, hit.kind, "unread", reasons)
    return CampaignLine(name, hit.ref, hit.channels, hit.kind, fit.outcome, fit.reasons, fit.weights, fit.changed)


def describe_line(line: CampaignLine) -> str:
    """Describe why a line has its outcome, or how it fared on the new base."""
    if line.moved:
        return f"{line.moved}: {line.verdict or 'not verified yet'}"
    return "; ".join(line.reasons)


def _row(line: CampaignLine) -> str:
    weights = f"{line.changed} of {line.weights}" if line.weights else "-"
    cells = (
        line.outcome,
        f"`{line.ref}`",
        ", ".join(line.channels) or "-",
        line.kind,
        weights,
        _cell(describe_line(line)),
    )
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;") or "-"
