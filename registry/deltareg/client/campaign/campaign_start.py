"""Starts a campaign: pushes each version that fits as it is onto the new base.

A push queues a verification. A line that has a version on the new base is done, so after an
interruption, or to go on a few at a time, call it again; the same files make no second version.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from deltareg.client.asking.resolving import resolve
from deltareg.client.campaign.campaign import CampaignLine, CampaignReport
from deltareg.client.context import Context
from deltareg.client.pull.pull import pull
from deltareg.client.push.golden_of_push import GoldenChoice
from deltareg.client.push.push import PushOptions, push
from deltareg.errors import DeltaregError, Unauthenticated, Unavailable
from deltareg.refs import LineRef, Ref


@dataclass(frozen=True, slots=True)
class CampaignStart:
    """What a campaign has started.

    Attributes:
        report: The campaign as it is now.
        begun: The lines that were started, or would be, as they were before.
        failed: The lines that could not be started, with the errors in `reasons`.
        left: How many lines are still to be started.
        is_dry_run: Whether this was a dry run.
    """

    report: CampaignReport
    begun: Sequence[CampaignLine]
    failed: Sequence[CampaignLine]
    left: int
    is_dry_run: bool

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg campaign --start --json`."""
        return self.report.to_dict() | {
            "begun": [line.line for line in self.begun],
            "left": self.left,
            "failed": [{"line": line.line, "reasons": list(line.reasons)} for line in self.failed],
            "is_dry_run": self.is_dry_run,
        }


def start(
    context: Context,
    report: CampaignReport,
    *,
    limit: int | None = None,
    is_dry_run: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> CampaignStart:
    """Push each version that fits as it is onto the new base, those that channels serve first.

    A version that cannot be pushed is reported, and the others go on.

    Args:
        context: The client's surroundings.
        report: The report of `campaign`.
        limit: How many to start at most; None for all.
        is_dry_run: Only report which lines would be started.
        tell: Called with each line that was started.

    Raises:
        Unavailable: The server does not answer; the lines started so far stay.
    """
    waiting = [line for line in report.lines if line.outcome == "verify"]
    chosen = sorted(waiting, key=_urgency)[:limit]
    if is_dry_run:
        return CampaignStart(report, chosen, (), len(waiting) - len(chosen), is_dry_run=True)
    after: dict[str, CampaignLine] = {}
    failed: list[CampaignLine] = []
    for line in chosen:
        try:
            after[line.line] = _move(context, line, report)
        except (Unavailable, Unauthenticated):
            raise
        except DeltaregError as error:
            failed.append(replace(line, reasons=(error.message,)))
            continue
        tell(f"{line.ref} -> {after[line.line].moved}")
    lines = [after.get(line.line, line) for line in report.lines]
    remaining = len(waiting) - len(after)
    now = replace(report, lines=lines)
    return CampaignStart(now, list(chosen), failed, remaining, is_dry_run=False)


def _urgency(line: CampaignLine) -> tuple[bool, bool, str]:
    return "prod" not in line.channels, not line.channels, line.line


def _move(context: Context, line: CampaignLine, report: CampaignReport) -> CampaignLine:
    """Push a version's files onto the new base, without golden outputs of the old one."""
    before = resolve(context, Ref.parse(line.ref), bare="newest")
    options = PushOptions(
        parents=(line.ref,),
        message=f"{line.ref} on {report.new}",
        labels=before.labels,
        convention=str(before.config.get("convention") or ""),
        golden=GoldenChoice(is_left_out=True),
        trained_on=report.new,  # its files name the old one
    )
    with TemporaryDirectory(prefix="deltareg-campaign-") as folder:
        to = Path(folder, "files")
        pull(context, Ref.parse(line.ref), to, is_temporary=True)
        pushed = push(context, to, LineRef.parse(line.line), base=report.new, options=options)
    version = pushed.version
    return replace(line, outcome="done", moved=version.ref, verdict=version.verdict or "", reasons=())
