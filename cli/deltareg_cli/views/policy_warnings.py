"""Warns the author of a policy, suite or freeze of what it lets through or assumes."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg.documents.json_values import is_list, is_object
from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.wording import clean

if TYPE_CHECKING:
    from deltareg.wire import SuiteInfo


def warn_of_policy(invocation: Invocation, wanted: Mapping[str, object]) -> list[str]:
    """Warn of what a policy asks too little of; returns the sentences."""
    warnings = list(_of_suites(invocation, wanted.get("suites")))
    _note(invocation, warnings)
    return warnings


def warn_of_idle_suites(invocation: Invocation, suites: object) -> list[str]:
    """Warn of suites that every version passes; returns the sentences."""
    warnings = list(_of_suites(invocation, suites)) if suites else []
    _note(invocation, warnings)
    return warnings


def warn_of_suite(invocation: Invocation, suite: "SuiteInfo") -> None:
    """Warn of a suite that every version passes."""
    if not is_judging(suite):
        _note(invocation, [f"no check of suite {suite.name} can fail, so every version passes it"])


def warn_of_time(invocation: Invocation, text: str | None) -> None:
    """Warn how a time without a zone was read."""
    if text is not None and (taken := _as_utc(text)):
        _note(invocation, [f"{text} names no zone and is taken as UTC: {taken}"])


def is_judging(suite: "SuiteInfo") -> bool:
    """Return whether a suite has a check that a version can fail."""
    from deltareg.suites.catalogue import judges  # reads a file

    return any(judges(one.check, has_threshold=bool(one.threshold)) for one in suite.checks)


def _note(invocation: Invocation, warnings: Sequence[str]) -> None:
    for warning in warnings:
        invocation.output.note(clean(f"warning: {warning}"))


def _of_suites(invocation: Invocation, suites: object) -> Iterator[str]:
    if not is_list(suites):
        return
    if not suites:
        yield "the policy asks for no suite, so what nobody has verified may be promoted"
    for item in suites:
        name = item.get("suite") if is_object(item) else item
        if isinstance(name, str) and not is_judging(invocation.client.suites.show(name)):
            yield f"no check of suite {name} can fail, so every version passes it"


def _as_utc(text: str) -> str:
    """Return a time without a zone as UTC; empty where it names a zone, or is no time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return "" if moment.tzinfo else f"{moment.isoformat(timespec='seconds')}Z"
