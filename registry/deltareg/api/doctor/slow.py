"""Why was it slow: the slowest requests and pushes of a time, by where their time went, and the slowest runs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, cast

from deltareg.api.doctor.diagnosis import Diagnosis, moment
from deltareg.api.observability.slow_requests import SLOW_S, read_slow_requests
from deltareg.drawing import wording
from deltareg.errors import DeltaregError
from deltareg.service.registry import Registry
from deltareg.service.upkeep.diagnosis import SlowRun, slow_runs, upload_targets

QUESTION: Final = "Why was it slow?"
_SHOWN: Final = 5
_UPLOAD: Final = "upload_id="
_WORDS: Final = {
    "database": "in the database",
    "store": "in the store",
    "connection": "waiting for a connection to the database",
    "slot": "waiting for its turn",
    "receiving": "receiving from the client",
    "sending": "sending to the client",
    "own": "checking",
    "client": "between its requests, at the client",
}
"""By part; `own` is what no part took, `client` what lies between the requests of a push."""


@dataclass(slots=True)
class SlowWork:
    """A push, or a request that is part of none.

    Attributes:
        what: The push, or the route.
        by: Who asked.
        ended: When it ended, seconds since 1970.
        began: When it began.
        requests: How many requests.
        failed: How many of them failed.
        parts: Seconds by part.
        ids: The ids of its requests, for the log; the slowest first.
    """

    what: str
    by: str = ""
    ended: float = 0.0
    began: float = float("inf")
    requests: int = 0
    failed: int = 0
    parts: dict[str, float] = field(default_factory=dict)
    ids: list[tuple[float, str]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it took, from the first request to the end of the last."""
        return self.ended - self.began

    def add(self, line: Mapping[str, object]) -> None:
        """Add a recorded request."""
        at, took = float(cast("float", line["at"])), float(cast("float", line["s"]))
        self.by = str(line.get("by", "")) or self.by
        self.ended, self.began = max(self.ended, at), min(self.began, at - took)
        self.requests += 1
        self.failed += int(cast("int", line["status"])) >= 400
        parts = cast("dict[str, float]", line.get("parts", {}))
        for part, seconds in {**parts, "own": max(0.0, took - sum(parts.values()))}.items():
            self.parts[part] = self.parts.get(part, 0.0) + seconds
        self.ids.append((took, str(line.get("request", ""))))

    def is_of(self, line: str) -> bool:
        """Whether it is about a line or a base."""
        namespace, _, name = line.partition("/")
        return self.what == f"push to {line}" or f" ns={namespace} name={name} " in f"{self.what} "

    def describe(self) -> str:
        """Say where the time went, the most first."""
        parts = dict(self.parts)
        between = self.seconds - sum(parts.values())
        if self.requests > 1 and between > 0:
            parts["client"] = between
        told = sorted(parts.items(), key=lambda item: -item[1])
        shown = [f"{wording.seconds(seconds)} {_WORDS.get(part, part)}" for part, seconds in told if seconds >= 0.05]
        return ", ".join(shown[:4]) or "less than a moment each"


def why_slow(registry: Registry | None, folder: Path, *, since: float, line: str = "") -> Diagnosis:
    """Answer the question for a time.

    Args:
        registry: The registry; None while its database does not answer.
        folder: The server's records.
        since: From when on, seconds since 1970.
        line: Only what is of this line, or of the base of this name; empty for all.
    """
    work = group(read_slow_requests(folder, since=since))
    runs = [] if registry is None else slow_runs(registry, since_us=int(since * 1_000_000), limit=_SHOWN, line=line)
    if registry is not None:
        _name_pushes(registry, work)
    asked = [each for each in work.values() if not line or each.is_of(line)]
    slowest = sorted(asked, key=lambda each: -each.seconds)[:_SHOWN]
    lines = [_headline(slowest, runs, since)]
    for each in slowest:
        what = f"{each.what}{f' by {each.by}' if each.by else ''}"
        failed = f", {each.failed} failed" if each.failed else ""
        count = f"{each.requests} requests{failed}: " if each.requests > 1 or each.failed else ""
        lines.append(f"{moment(each.began)}  {wording.seconds(each.seconds)}  {what}")
        lines.append(f"    {count}{each.describe()}; request {max(each.ids)[1]}")
    lines += [_describe_run(each) for each in runs if each.waited_s + each.worked_s >= SLOW_S]
    document = {
        "since": moment(since),
        "requests": [{**asdict(each), "seconds": round(each.seconds, 3)} for each in slowest],
        "runs": [
            {"run": each.run.id, "ref": each.run.ref, "waited_s": each.waited_s, "worked_s": each.worked_s}
            for each in runs
        ],
    }
    return Diagnosis(QUESTION, lines, document)


def group(lines: Iterable[Mapping[str, object]]) -> dict[str, SlowWork]:
    """Group recorded requests: those of a push are one, any other stands for itself.

    A request is of a push if it is about its upload, or has the id of a command that made no other push.
    """
    recorded = list(lines)
    pushes: dict[object, set[str]] = defaultdict(set)
    for line in recorded:
        pushes[str(line.get("request"))] |= {_upload_of(line)} - {""}
    work: dict[str, SlowWork] = {}
    for number, line in enumerate(recorded):
        about, of_command = str(line.get("about", "")), pushes[str(line.get("request"))]
        upload = _upload_of(line) or (min(of_command) if len(of_command) == 1 else "")
        key = upload or f"#{number}"
        if key not in work:
            route = f"{line.get('method', '')} {line.get('route', '')}"
            work[key] = SlowWork(f"push {upload}" if upload else f"{route} {about}".strip())
        work[key].add(line)
    return work


def _upload_of(line: Mapping[str, object]) -> str:
    words = str(line.get("about", "")).split()
    return next((word.removeprefix(_UPLOAD) for word in words if word.startswith(_UPLOAD)), "")


def _name_pushes(registry: Registry, work: Mapping[str, SlowWork]) -> None:
    try:
        targets = upload_targets(registry, [key for key in work if not key.startswith("#")])
    except DeltaregError:
        return
    for upload, target in targets.items():
        work[upload].what = f"push to {target}"


def _headline(slowest: Sequence[SlowWork], runs: Sequence[SlowRun], since: float) -> str:
    if not slowest and not runs:
        return f"Nothing took longer than {wording.seconds(SLOW_S)} since {moment(since)}."
    totals: dict[str, float] = defaultdict(float)
    for each in slowest:
        for part, seconds in each.parts.items():
            totals[_WORDS.get(part, part)] += seconds
        if each.requests > 1:
            totals[_WORDS["client"]] += max(0.0, each.seconds - sum(each.parts.values()))
    for run in runs:
        totals["waiting for a worker"] += run.waited_s
        totals["in workers"] += run.worked_s
    most = max(totals, key=lambda part: totals[part])
    return f"Most of the time since {moment(since)} went {most}: {wording.seconds(totals[most])}."


def _describe_run(slow: SlowRun) -> str:
    run, tries = slow.run, f", {slow.run.attempt} attempts" if slow.run.attempt > 1 else ""
    all_of_it, waited, worked = map(wording.seconds, (slow.waited_s + slow.worked_s, slow.waited_s, slow.worked_s))
    return (
        f"{run.created_at[:19].replace('T', ' ')}Z  {all_of_it}  {run.what} {run.ref or run.base}:"
        f" {waited} waiting for a worker, {worked} in {run.worker or 'none'}{tries}"
    )
