"""A version: what it is, whether it may go to a channel, its verdicts, files and lineage."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from deltareg.errors import InvalidInput, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.pages.asking import ViewRequest
from deltareg.pages.layer_map import LayerMap, layer_map, map_cells, map_plot
from deltareg.pages.routing import View
from deltareg.pages.tables import Cell, PageTable
from deltareg.refs import Ref, parse_channel
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Channel
from deltareg.service.lines.cards import show_card
from deltareg.service.lines.versions import manifest_bytes, show_version
from deltareg.service.overview.gate import GateOverview, show_gate_around
from deltareg.service.overview.version import VersionOverview, show_version_around
from deltareg.service.verdicts.verdicts import list_verdicts
from deltareg.suites.catalogue import about
from deltareg.wire import Answer, CardInfo, CheckResult, Page, VerdictInfo

_VERDICTS = 20
_SILENT: Final = frozenset({"skipped", "n/a"})


class VersionPage(VersionOverview):
    """A version; `gate_channel` is where to promote it, if the caller `may_promote` there."""

    line: str
    gate_channel: str
    may_promote: bool


class GatePage(GateOverview):
    """A version before the gate of a channel."""

    line: str
    number: int
    channel: str


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    """A verdict by its checks.

    Attributes:
        verdict: The whole verdict.
        checks: The checks to show at once, failed ones first.
        passed: Checks that passed beside others that did not.
        silent: Checks without a result.
        why_silent: Why most of these have none.
    """

    verdict: VerdictInfo
    checks: list[CheckResult]
    passed: list[CheckResult]
    silent: list[CheckResult]
    why_silent: str


class VerdictsPage(Answer):
    """The verdicts of a version, newest first, and a description of each check."""

    line: str
    number: int
    verdicts: Page[VerdictInfo]
    about: dict[str, str]

    @property
    def shown(self) -> list[ShownVerdict]:
        """The verdicts with their checks grouped by what to read first."""
        return [_split_checks(verdict) for verdict in self.verdicts.items]


class ListedFile(Answer):
    """A file of a version."""

    path: str
    size_bytes: int
    digest: str
    tensors: int


class FilesPage(Answer):
    """The files of a version, and a map of the modules and layers that have tensors."""

    line: str
    number: int
    files: list[ListedFile]
    tensors: int
    map: LayerMap


class CardPage(Answer):
    """What the README.md of a version says; None if it has none."""

    line: str
    number: int
    card: CardInfo | None


def ref_of(ask: ViewRequest) -> Ref:
    """Return the version in the path, `v3`.

    Raises:
        InvalidInput: It is no version.
    """
    text = ask.part("version")
    ref = Ref.parse(f"{ask.line}:{text}")
    if ref.version is None:
        raise InvalidInput(f"not a version: {text[:40]!r}", fix="write v3")
    return ref


def _version(ask: ViewRequest) -> VersionPage:
    detail = show_version_around(ask.registry, ask.caller, ref_of(ask))
    channel = parse_channel(ask.text("channel") or "prod")
    may = ask.caller.may(Right.PROMOTE, on=Channel(ask.line, channel))
    return VersionPage(**dict(detail), line=str(ask.line), gate_channel=channel, may_promote=may)


def _gate(ask: ViewRequest) -> GatePage:
    ref, channel = ref_of(ask), parse_channel(ask.text("channel") or "prod")
    detail = show_gate_around(ask.registry, ask.caller, ref, channel)
    return GatePage(**dict(detail), line=str(ask.line), number=ref.version or 0, channel=channel)


def _verdicts(ask: ViewRequest) -> VerdictsPage:
    ref = ref_of(ask)
    verdicts = list_verdicts(
        ask.registry, ask.caller, ref, suite=ask.text("suite"), cursor=ask.cursor, limit=ask.most(_VERDICTS)
    )
    names = dict.fromkeys(check.name for verdict in verdicts.items for check in verdict.checks)
    return VerdictsPage(line=str(ask.line), number=ref.version or 0, verdicts=verdicts, about=about(names))


def _split_checks(verdict: VerdictInfo) -> ShownVerdict:
    silent = [check for check in verdict.checks if check.verdict in _SILENT]
    passed = [check for check in verdict.checks if check.verdict == "pass"]
    checks = [check for check in verdict.checks if check.verdict not in {*_SILENT, "pass"}]
    checks.sort(key=lambda check: check.verdict != "fail")
    if verdict.verdict == "pass" or not checks:
        checks, passed = [*checks, *passed], []
    reasons = Counter(check.detail for check in silent if check.verdict == "skipped")
    return ShownVerdict(verdict, checks, passed, silent, next((reason for reason, _ in reasons.most_common(1)), ""))


def _files(ask: ViewRequest) -> FilesPage:
    ref = ref_of(ask)
    manifest = Manifest.decode(manifest_bytes(ask.registry, ask.caller, ref))
    counted: dict[str, int] = {}
    for tensor in manifest.tensors:
        counted[tensor.file] = counted.get(tensor.file, 0) + 1
    files = [
        ListedFile(
            path=file.path, size_bytes=file.size_bytes, digest=str(file.digest), tensors=counted.get(file.path, 0)
        )
        for file in manifest.files
    ]
    return FilesPage(
        line=str(ask.line), number=ref.version or 0, files=files, tensors=len(manifest.tensors), map=layer_map(manifest)
    )


def _card(ask: ViewRequest) -> CardPage:
    ref = ref_of(ask)
    card: CardInfo | None
    try:
        card = show_card(ask.registry, ask.caller, ref, with_text=True)
    except NotFound:
        show_version(ask.registry, ask.caller, ref, bare="newest")  # there may be no such version
        card = None
    return CardPage(line=str(ask.line), number=ref.version or 0, card=card)


def _check_cells(page: VerdictsPage) -> Iterator[Sequence[Cell]]:
    for verdict in page.verdicts.items:
        for check in verdict.checks:
            yield (
                verdict.id,
                verdict.suite,
                verdict.created_at,
                verdict.verdict,
                verdict.counts,
                check.name,
                check.verdict,
                check.value,
                check.threshold,
                check.baseline,
                check.seconds,
                check.detail,
                verdict.signed_by,
            )


def _map_cells(page: FilesPage) -> Iterator[Sequence[Cell]]:
    return map_cells(page.map)


def _map_plot(page: FilesPage) -> str:
    return map_plot(page.map, f"Modules of {page.line} v{page.number} by layer")


_CHECKS = PageTable(
    (
        "verdict",
        "suite",
        "at",
        "outcome",
        "counts",
        "check",
        "check_outcome",
        "value",
        "mark",
        "baseline",
        "seconds",
        "seen",
        "signed_by",
    ),
    _check_cells,
    lambda page: page.verdicts.next_cursor,
)
_MAP = PageTable(("module", "layer", "seen"), _map_cells)
_PATH = "/deltas/{ns}/{name}/{version}"
PAGES = (
    View(f"{_PATH}/gate", _gate, "gate.html.jinja", "Deltas"),
    View(f"{_PATH}/verdicts", _verdicts, "verdicts.html.jinja", "Deltas", table=_CHECKS),
    View(f"{_PATH}/files", _files, "files.html.jinja", "Deltas", table=_MAP, plot=_map_plot),
    View(f"{_PATH}/card", _card, "card.html.jinja", "Deltas"),
    View(_PATH, _version, "version.html.jinja", "Deltas"),
)
