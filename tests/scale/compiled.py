"""The template's steps as copies are made of them, and the ids that copies put others in place of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.scale.copies import CopiedStep
from tests.scale.patterns import Cell, Numbers
from tests.scale.snapshot import Step
from tests.scale.template import CHANNELS, Template

VERSIONS = ("line", "passed", "failed", "golden", "deleted", "unjudged")


@dataclass(frozen=True)
class MadeVersion:
    """What a step's version is called in other steps; no verdict, unless it has one."""

    row_id: int
    digest: str
    verdict: str


@dataclass(frozen=True)
class OldIds:
    """Row ids of the template's things; 0 for what a brief life does not have."""

    namespace: int
    base: int
    line: int
    channels: Mapping[str, int]
    person: int
    agent: int
    made: Mapping[str, MadeVersion]

    @property
    def first(self) -> int:
        return self.made["line"].row_id

    @classmethod
    def of(cls, template: Template) -> "OldIds":
        """Read them off the steps."""
        steps = template.steps
        return cls(
            steps["namespace"].number("namespaces"),
            steps["base"].number("bases"),
            steps["line"].number("deltas"),
            {str(row["name"]): int(str(row["id"])) for row in steps["line"].rows["channels"]},
            steps["person"].number("principals") if "person" in steps else 0,
            steps["agent"].number("agents") if "agent" in steps else 0,
            {
                name: _made(steps[name], steps["judged first" if name == "line" else name])
                for name in VERSIONS
                if name in steps
            },
        )


def compiled_steps(template: Template, old: OldIds, *, next_event: Callable[[], int]) -> dict[str, CopiedStep]:
    """Compile the steps; `next_event` gives the next event its number."""
    steps, of_base = dict(template.steps), template.steps["base"].own
    line, passed = steps["line"], steps["passed"]
    of_moves = of_base | line.own | passed.own | steps["judged first"].own
    channels = {str(row["name"]): Step({"channels": [row]}, frozenset()) for row in line.rows["channels"]}
    steps |= {
        "delta": line.only("deltas"),
        **{f"channel {name}": step for name, step in channels.items()},
        "garbage": passed.only("packs"),
    }
    if "agent" in steps:
        steps |= {"follower": steps["agent"].only("followers"), "agent": steps["agent"].only("agents")}
    overrides: dict[tuple[str, str], Cell] = {
        ("versions", "number"): lambda copy: copy.number,
        ("revisions", "number"): lambda copy: copy.revision,
        ("channels", "revision"): lambda copy: copy.revision,
        ("deltas", "next_version"): lambda copy: copy.number,
        ("followers", "revision"): lambda copy: copy.revision,
        ("followers", "version"): lambda copy: copy.number,
        ("outbox", "number"): lambda _: next_event(),
    }
    first_move: dict[tuple[str, str], Cell] = {
        ("revisions", "previous_version_id"): lambda copy: copy.ids.get(("versions", old.first))
    }
    numbers = {f"promoted {name}": Numbers(2, 2) for name in CHANNELS}
    numbers |= {"rolled back": Numbers(1, 3), "queued": Numbers(2)}
    return {
        name: CopiedStep(
            step,
            template.keys,
            shared=frozenset() if name == "base" else of_moves if name in {*numbers, "follower"} else of_base,
            numbers=numbers.get(name),
            overrides=overrides | (first_move if name.startswith("promoted") else {}),
        )
        for name, step in steps.items()
    }


def _made(step: Step, judged: Step) -> MadeVersion:
    verdicts = judged.rows.get("verdicts")
    return MadeVersion(step.number("versions"), step.digest("versions"), str(verdicts[0]["id"]) if verdicts else "")
