"""The synthetic history: lines in namespaces over bases, their versions in the order of time, moves."""

import time
from dataclasses import dataclass, field

from tests.scale.blob_links import BlobLinks
from tests.scale.compiled import OldIds, compiled_steps
from tests.scale.patterns import Copy, Named
from tests.scale.placeholders import AGENT, BASE, LINE, PERSON, SPACE, STEP
from tests.scale.plan import DAY_US, US, FillPlan
from tests.scale.sink import RowSink
from tests.scale.template import CHANNELS, Template

_EVENTS_US = 30 * DAY_US  # how long events stay
_LOGS_US = 90 * DAY_US  # and logs of runs
_FOLLOWED = 40  # channels of an agent


@dataclass
class FilledBase:
    """A base that versions are trained on: what takes the place of the template's row and words."""

    ids: dict[Named, int]
    words: dict[str, str]


@dataclass(frozen=True)
class Served:
    """A version that a channel serves or served."""

    row_id: int
    number: int
    digest: str
    verdict: str


@dataclass
class FilledChannel:
    """Where a channel stands."""

    row_id: int
    revision: int = 0
    served: list[Served] = field(default_factory=list)


@dataclass
class FilledLine:
    """A line while its versions are made."""

    space: str
    name: str
    base: FilledBase
    ids: dict[Named, int]
    channels: dict[str, FilledChannel]
    number: int = 0
    newest: int = 0


class History:
    """Makes a registry's history out of a template."""

    def __init__(self, plan: FillPlan, template: Template, sink: RowSink, links: BlobLinks, *, events: int):
        """Compile the template's steps.

        Args:
            plan: How large it is.
            template: What copies are made of.
            sink: Takes the rows.
            links: Takes the objects of packs.
            events: How many events are numbered already.
        """
        self.plan, self.events = plan, events
        self._template, self._sink, self._links, self._draw = template, sink, links, plan.draw()
        self._now = time.time_ns() // 1_000
        self._began = self._now - plan.days * DAY_US
        self._old = OldIds.of(template)
        self._steps = compiled_steps(template, self._old, next_event=self._next_event)

    def write(self) -> None:
        """Write all of it."""
        bases = [self._base(number) for number in range(self.plan.bases)]
        spaces = [self._space(number) for number in range(self.plan.namespaces)]
        lines, order = [], []
        for number, size in enumerate(self.plan.sizes()):
            lines.append(self._line(*spaces[number % len(spaces)], number, bases[number % len(bases)]))
            order += [number] * size
        self._draw.shuffle(order)
        ticks = sorted(self._draw.randrange(self._began, self._now - 3_600 * US) for _ in order)
        for step, (number, at) in enumerate(zip(order, ticks, strict=True)):
            self._version(lines[number], step, at)
        for line in lines:
            self._close(line)
        if "agent" in self._steps:  # the life was no brief one
            self._people(spaces)
            self._fleet(lines)
            self._beside(lines)

    def _next_event(self) -> int:
        self.events += 1
        return self.events

    def _put(self, name: str, copy: Copy, *, at: int) -> None:
        """Write a copy of a step as it would have been at that moment."""
        step = self._steps[name]
        copy.shift_us = at - step.began_us
        for each in step.fresh:
            if each not in copy.ids:
                copy.ids[each] = self._sink.new_id(each[0])
        is_told, is_logged = at > self._now - _EVENTS_US, at > self._now - _LOGS_US
        for table, columns, values in step.rows(copy):
            if (table == "outbox" and not is_told) or (table == "run_log" and not is_logged):
                continue
            self._sink.add(table, columns, values)
        for key in step.objects:
            _, digest, attempt = key.split("/")
            self._links.add(f"blobs/{copy.word(digest)}/{copy.word(attempt)}", key)

    def _base(self, number: int) -> FilledBase:
        name = f"scale-base-{number:03}"
        copy = Copy(f"base {number}", words={BASE: name})
        self._put("base", copy, at=self._began - (self.plan.bases - number) * US)
        words = {old: copy.word(old) for old in self._template.steps["base"].own}
        return FilledBase({("bases", self._old.base): copy.ids["bases", self._old.base]}, words | {BASE: name})

    def _space(self, number: int) -> tuple[str, int]:
        name = f"scale{number}"
        copy = Copy(f"space {number}", words={SPACE: name})
        self._put("namespace", copy, at=self._began)
        return name, copy.ids["namespaces", self._old.namespace]

    def _line(self, space: str, space_id: int, number: int, base: FilledBase) -> FilledLine:
        channels = {name: FilledChannel(self._sink.new_id("channels")) for name in CHANNELS}
        ids = {("namespaces", self._old.namespace): space_id, ("deltas", self._old.line): self._sink.new_id("deltas")}
        ids |= {("channels", self._old.channels[name]): place.row_id for name, place in channels.items()}
        return FilledLine(space, f"line{number}", base, ids, channels)

    def _copy(self, line: FilledLine, salt: str, *, number: int, step: object = "", **words: str) -> Copy:
        own = {SPACE: line.space, LINE: line.name, STEP: str(step)}
        return Copy(salt, number=number, ids=line.ids | line.base.ids, words=line.base.words | own | words)

    def _version(self, line: FilledLine, step: int, at: int) -> None:
        line.number += 1
        name = self._kind()
        copy = self._copy(line, f"version {step}", number=line.number, step=step)
        if line.newest:
            copy.ids["versions", self._old.first] = line.newest
        self._put(name, copy, at=at)
        made = self._old.made[name]
        line.newest = copy.ids["versions", made.row_id]
        if name in {"passed", "golden"}:
            version = Served(line.newest, line.number, copy.word(made.digest), copy.word(made.verdict))
            self._move(line, version, step, at + 60 * US)

    def _kind(self) -> str:
        """Draw what became of a version."""
        drawn = self._draw.random()
        for name in ("unjudged", "failed", "deleted", "golden"):
            drawn -= getattr(self.plan, name)
            if drawn < 0:
                return name
        return "passed"

    def _move(self, line: FilledLine, version: Served, step: int, at: int) -> None:
        """Promote a version to `dev`, and some of them further, one of which is rolled back at times."""
        for channel, chance in (("dev", 1.0), ("staging", 0.5), ("prod", 0.3)):
            if self._draw.random() >= chance:
                continue
            served = line.channels[channel].served
            self._moved(f"promoted {channel}", line, channel, version, step, at)
            if channel == "prod" and len(served) > 1 and self._draw.random() < self.plan.rolled_back:
                self._moved("rolled back", line, channel, served[-2], step, at + US)

    def _moved(self, name: str, line: FilledLine, channel: str, to: Served, step: int, at: int) -> None:
        place, old = line.channels[channel], self._old
        place.revision += 1
        copy = self._copy(line, f"{name} {step}", number=to.number, step=step)
        copy.revision = place.revision
        left = place.served[-1] if place.served else None
        (target, source) = (old.made["line"], old.made["passed"])
        if name != "rolled back":
            target, source = source, target
        copy.ids["versions", target.row_id] = to.row_id
        copy.words |= {target.digest: to.digest, target.verdict: to.verdict}
        if left is not None:
            copy.ids["versions", source.row_id] = left.row_id
            copy.words |= {source.digest: left.digest, source.verdict: left.verdict}
        self._put(name, copy, at=at)
        place.served.append(to)

    def _close(self, line: FilledLine) -> None:
        """Write a line and its channels as its history has left them."""
        self._put("delta", self._copy(line, line.name, number=line.number + 1), at=self._began)
        for name, place in line.channels.items():
            copy = self._copy(line, f"{line.name} {name}", number=line.number)
            copy.revision = place.revision
            self._put(f"channel {name}", copy, at=self._began)

    def _people(self, spaces: list[tuple[str, int]]) -> None:
        for number in range(self.plan.people):
            copy = Copy(f"person {number}", words={PERSON: f"person{number}"})
            self._put("person", copy, at=self._began)
            person = ("principals", self._old.person)
            for space, space_id in self._draw.sample(spaces, min(3, len(spaces))):
                ids = {person: copy.ids[person], ("namespaces", self._old.namespace): space_id}
                words = {PERSON: f"person{number}", SPACE: space}
                self._put("member", Copy(f"member {number} {space}", ids=ids, words=words), at=self._began)

    def _fleet(self, lines: list[FilledLine]) -> None:
        """Let agents follow what lines have on `prod`."""
        promoted = [line for line in lines if line.channels["prod"].served]
        for number in range(self.plan.agents):
            agent = Copy(f"agent {number}", words={AGENT: f"agent-{number}"})
            self._put("agent", agent, at=self._now)
            for line in self._draw.sample(promoted, min(_FOLLOWED, len(promoted))):
                served = line.channels["prod"].served[-1]
                copy = self._copy(line, f"follower {number} {line.name}", number=served.number)
                copy.revision = line.channels["prod"].revision
                copy.words[self._old.made["line"].digest] = served.digest
                copy.ids["agents", self._old.agent] = agent.ids["agents", self._old.agent]
                self._put("follower", copy, at=self._now)

    def _beside(self, lines: list[FilledLine]) -> None:
        """Leave runs that wait and packs that nothing needs."""
        passed = self._old.made["passed"]
        for number, line in enumerate(self._draw.sample(lines, min(self.plan.queued, len(lines)))):
            copy = self._copy(line, f"queued {number}", number=line.number)
            copy.ids["versions", passed.row_id] = line.newest
            self._put("queued", copy, at=self._now - number * US)
        for number in range(self.plan.garbage):
            self._put("garbage", self._copy(lines[0], f"garbage {number}", number=1), at=self._now)
