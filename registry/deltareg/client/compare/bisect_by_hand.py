"""Bisection with a person as the judge: one judgement at a time, remembered in between."""

from collections.abc import Sequence
from dataclasses import dataclass

from deltareg.client.asking.lines import list_versions, show_channel
from deltareg.client.asking.resolving import resolve
from deltareg.client.compare.bisect import BisectionStep, BisectReport, live_versions
from deltareg.client.compare.bisect_marks import KeptMarks, LineMarks
from deltareg.client.context import Context
from deltareg.errors import Conflict, InvalidInput, NotFound
from deltareg.gate.bisection import (
    ENDS,
    BisectionBounds,
    Mark,
    check_order,
    ends_of,
    may_be_end,
    missing_ends,
    progress_of,
)
from deltareg.refs import LineRef, Ref
from deltareg.wire import VersionInfo

_PROD = "prod"
_NEWEST = 50


@dataclass(frozen=True, slots=True)
class BisectionState:
    """The state of a bisection by hand.

    Attributes:
        line: The line.
        steps: Every judged version, in order.
        bounds: The versions between which the change lies; None until a good and a bad one are
            known.
        deleted: Versions between the two that are deleted.
        version: The version to try next; None if there is none.
        missing: The ends that have not been named yet.
        hint: A version that may be the missing end: what `prod` serves as a good one, the newest as
            a bad one. It is only suggested, never used by itself.
    """

    line: LineRef
    steps: Sequence[BisectionStep]
    bounds: BisectionBounds | None = None
    deleted: Sequence[int] = ()
    version: VersionInfo | None = None
    missing: Sequence[Mark] = ()
    hint: str = ""

    @property
    def report(self) -> BisectReport | None:
        """The report of the finished search; None while versions are left to try."""
        if self.bounds is None or self.version is not None:
            return None
        return BisectReport(str(self.line), self.bounds, self.steps, self.deleted)


@dataclass(frozen=True, slots=True)
class HandBisection:
    """Searches for the version that made a line bad, with a person judging each version."""

    context: Context

    def start(self, line: LineRef, *, good: int | None, bad: int | None) -> BisectionState:
        """Begin a search with the ends that are known.

        Raises:
            Conflict: A search of this line is under way.
            InvalidInput: The ends are the wrong way round.
            NotFound: The line or a version does not exist.
        """
        if good is not None and bad is not None:
            check_order(good, bad)
        if self._kept.read(line) is not None:
            raise Conflict(
                f"a bisection of {line} goes on",
                fix=f"deltareg bisect status {line}, or end it: deltareg bisect reset {line}",
            )
        list_versions(self.context, line, cursor=None, limit=1)  # there is such a line
        marks = LineMarks()
        for number, mark in zip((good, bad), ENDS, strict=True):
            if number is not None:
                self._find(Ref(line, version=number))
                marks = marks.with_mark(number, mark)
        return self._keep(line, None, marks)

    def mark(self, named: str | None, mark: Mark) -> BisectionState:
        """Judge a version.

        Args:
            named: A reference, `vN` of the line in search, or a line for its proposed version. None
                is enough while only one search is under way.
            mark: The judgement, which replaces an earlier one.

        Raises:
            Conflict: The search was continued elsewhere meanwhile.
            InvalidInput: The judgement contradicts earlier ones, or no version is meant.
            NotFound: No bisection is under way, or the version does not exist.
        """
        line, ref = self._resolve_named(named)
        before = self._read(line)
        number = self._require_proposed(line, before, mark) if ref is None else self._find(ref)
        return self._keep(line, before, before.with_mark(number, mark))

    def status(self, line: LineRef | None) -> BisectionState:
        """Return how far a search is; a proposed version that was deleted meanwhile is replaced.

        Raises:
            InvalidInput: Several are under way, and none is named.
            NotFound: No bisection is under way.
        """
        line = line or self._only()
        marks = self._read(line)
        return self._keep(line, marks, marks)

    def reset(self, line: LineRef | None) -> LineRef | None:
        """End a search and forget its judgements; return its line, or None if there was none.

        Raises:
            InvalidInput: Several are under way, and none is named.
        """
        if line is None:
            if not self._kept.lines():
                return None
            line = self._only()
        return line if self._kept.forget(line) else None

    @property
    def _kept(self) -> KeptMarks:
        return KeptMarks.of_server(self.context.config.server)

    def _keep(self, line: LineRef, before: LineMarks | None, marks: LineMarks) -> BisectionState:
        """Find out which version to try next, and keep it with the judgements."""
        state = self._standing(line, marks)
        proposed = None if state.version is None else state.version.version
        self._kept.swap(line, before, marks.proposing(proposed))
        return state

    def _standing(self, line: LineRef, marks: LineMarks) -> BisectionState:
        judged = marks.by_version()
        steps = [BisectionStep(f"{line}:v{n}", mark, source="hand") for n, mark in judged.items()]
        good, bad = ends_of(str(line), judged)
        if good is None or bad is None:
            missing = missing_ends(judged)
            return BisectionState(line, steps, missing=missing, hint=self._hint(line, judged, missing[0]))
        live = {one.version: one for one in live_versions(self.context, line, good, bad)}
        progress = progress_of(str(line), list(live), judged, proposed=marks.proposed)
        version = None if progress.next is None else live[progress.next]
        return BisectionState(line, steps, progress.bounds, progress.deleted, version)

    def _hint(self, line: LineRef, judged: dict[int, Mark], missing: Mark) -> str:
        """Suggest a version that may be the missing end; empty if there is none to suggest."""
        if missing == "good":
            channel = show_channel(self.context, line, _PROD)
            number = None if channel.is_revoked else channel.version
        else:
            newest = list_versions(self.context, line, cursor=None, limit=_NEWEST).items
            number = next((one.version for one in newest if not one.is_deleted), None)
        return "" if number is None or not may_be_end(number, judged) else f"{line}:v{number}"

    def _resolve_named(self, named: str | None) -> tuple[LineRef, Ref | None]:
        """Return the line that is meant, and its version; None stands for the proposed one."""
        if named is None:
            return self._only(), None
        if "/" not in named:
            line = self._only()
            return line, Ref.parse(f"{line}:v{named.removeprefix('v')}")
        ref = Ref.parse(named)
        return ref.line, None if ref.is_bare else ref

    def _only(self) -> LineRef:
        lines = self._kept.lines()
        if not lines:
            raise _nothing_goes_on()
        if len(lines) > 1:
            raise InvalidInput(
                f"{len(lines)} bisections go on: {', '.join(map(str, lines))[:400]}", fix=f"name the line: {lines[0]}"
            )
        return lines[0]

    def _read(self, line: LineRef) -> LineMarks:
        marks = self._kept.read(line)
        if marks is None:
            raise _nothing_goes_on(line)
        return marks

    def _require_proposed(self, line: LineRef, marks: LineMarks, mark: Mark) -> int:
        """Return the number of the proposed version; refuse if none was proposed."""
        if marks.proposed is not None:
            return marks.proposed
        message = f"say which version is {mark}" if mark != "skip" else "say which version to skip"
        raise InvalidInput(
            f"there is no version of {line} to try now: {message}",
            fix=f"deltareg bisect {mark} {line}:vN; where it is: deltareg bisect status {line}",
        )

    def _find(self, ref: Ref) -> int:
        version = resolve(self.context, ref, bare="newest")
        if version.is_deleted:
            raise NotFound(f"{version.ref} is deleted", fix=f"deltareg ls {ref.line}")
        return version.version


def _nothing_goes_on(line: LineRef | None = None) -> NotFound:
    of = f" of {line}" if line else ""
    return NotFound(f"no bisection{of} goes on", fix=f"deltareg bisect start {line or 'NS/NAME'} --good vN --bad vN")
