"""The suite that a line of the second set has beside `smoke`: samples of both domains.

One function says what it is, so that whatever writes suites for people can stand behind it.
"""

from functools import cache
from pathlib import Path

from deltareg.client.resources.suites import read_suite_file
from deltareg.suites.catalogue import CATALOGUE
from deltareg.suites.suite import Suite
from tests.planted.more.subject import Domain, Subject

SAMPLES, _GENERAL_SAMPLES = 200, 100
# What docs/howto/suites.md writes, nothing that was fitted to this set: how much better than the
# base on what it is for, how much may be lost elsewhere, and of each beside the promoted version.
_SHARES = {"in_domain": 0.02, "general": -0.1, "in_domain_kept": -0.05, "general_kept": -0.1}
_PERPLEXITY = {"in_domain": 0.02, "general": -0.33, "in_domain_kept": -0.1, "general_kept": -0.33}
_PARAMETERS = {"transcription": "{measure: cer}", "text_retrieval": "{within: 1}"}
_LESS_IS_BETTER = {"perplexity", "target_perplexity", "transcription"}
_HEAD = """\
name: second-{base}
about: What the second planted set holds deltas of {base} against, beside smoke.
seed: 20260117
sets:
"""
_CHECK = """\
  - check: {check}
    name: {name}
    probes: {domain}
    against: {against}
    parameters: {parameters}
    threshold: {{{term}: {change}, greater_is_better: {better}}}
"""


@cache
def suite_for(subject: Subject, folder: Path, *, samples: int = SAMPLES) -> Suite | None:
    """Write a base's suite with its probe sets into a folder, and read it as a push does.

    Args:
        subject: The base.
        folder: Where the files come to lie.
        samples: How many of the tuned domain it has.

    Returns:
        None where no check here takes such a measure.
    """
    if subject.is_static or subject.measure not in CATALOGUE:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    domains: dict[Domain, int] = {"tuned": samples}
    if not subject.is_headless:
        domains["general"] = min(samples, _GENERAL_SAMPLES)
    lines = [_HEAD.format(base=subject.name)]
    for domain, count in domains.items():
        file = f"{subject.name}-{domain}.{subject.suffix}"
        (folder / file).write_bytes(subject.probes(domain, count))
        lines.append(f"  {domain}: {{file: {file}}}\n")
    lines.append("checks:\n")
    lines += [_check(subject, name, domain) for name, domain in _rules(subject)]
    path = folder / f"second-{subject.name}.yaml"
    path.write_text("".join(lines))
    return read_suite_file(path)[0]


def _rules(subject: Subject) -> list[tuple[str, Domain]]:
    tuned: list[tuple[str, Domain]] = [("in_domain", "tuned"), ("in_domain_kept", "tuned")]
    if subject.is_headless:  # its classes are no domain's of the base
        return tuned
    return [*tuned, ("general", "general"), ("general_kept", "general")]


def _check(subject: Subject, name: str, domain: Domain) -> str:
    is_loss = subject.sort == "nats"
    return _CHECK.format(
        check=subject.measure, name=name, domain=domain,
        against="promoted" if name.endswith("_kept") else "base",
        term="min_relative_change" if is_loss else "min_absolute_change",
        change=(_PERPLEXITY if is_loss else _SHARES)[name],
        better=str(subject.measure not in _LESS_IS_BETTER).lower(),
        parameters=_PARAMETERS.get(subject.measure, "{}"),
    )  # fmt: skip
