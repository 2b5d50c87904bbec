"""A gate's answer, or a verification, as one HTML file that needs nothing beside it."""

from collections.abc import Sequence

import deltareg
from deltareg.client.report_files.difference_html import sections
from deltareg.client.report_files.facts import GateReport, Judged, Metric, Waiver
from deltareg.client.report_files.markdown import headline, stored_words
from deltareg.drawing import page
from deltareg.drawing.plots import history
from deltareg.drawing.wording import (
    cut,
    number,
    seconds,
    short,
    size,
)
from deltareg.wire import CheckResult

MOST_METRICS = 24
_MOST_VALUE = 80
_CHECKS = (
    ("check", ""), ("verdict", ""), ("value", "num"), ("threshold", "num"), ("baseline", "num"),
    ("took", "num"),
)  # fmt: skip
_WAIVERS = (("what", ""), ("reason", "prose"), ("until", ""), ("by", ""))


def to_html(report: GateReport) -> str:
    """Write a report as one HTML file."""
    word = report.standing
    is_verdict = report.answer is None and word == "allowed"
    head = (
        f"<header>{page.pill('passed' if is_verdict else word)}"
        f"<h1>{page.text(report.version.ref)}</h1></header>\n"
        f'<p class="lead">{page.text(headline(report))}.</p>\n'
    )
    parts = [
        _unmet(report),
        *(_suite(judged) for judged in report.suites),
        _waivers(report.waivers),
        _difference(report),
        _history(report.history),
        _version(report),
    ]
    foot = f"deltareg {deltareg.__version__} · {report.made_at:%Y-%m-%d %H:%M} UTC"
    return page.page(f"{word}: {report.subject}", head + "".join(parts), foot=foot)


def _unmet(report: GateReport) -> str:
    if report.answer is None or not report.answer.unmet:
        return ""
    rules = "".join(
        f"<li>{page.pill(rule.rule, is_small=True)} {page.text(rule.message)}"
        + (f"<pre><code>{page.text(rule.fix)}</code></pre>" if rule.fix else "")
        + "</li>\n"
        for rule in report.answer.unmet
    )
    return page.section("What is missing", f'<ul class="rules">{rules}</ul>')


def _suite(judged: Judged) -> str:
    title = f"Suite {judged.suite}"
    if judged.verdict is None:
        run = judged.run
        why = run.error if run is not None and run.error else "No verdict counts for it yet."
        return page.section(
            title, f"<p>{page.pill(judged.word, is_small=True)} {page.text(why)}</p>"
        )
    checks = judged.verdict.checks
    took = seconds(sum(check.seconds for check in checks))
    caption = f"{judged.word}: {len(checks)} checks in {took}"
    told = [f"{c.code}: {c.detail}" if c.code else c.detail for c in checks]
    rows = [_check(check) for check in checks]
    return page.section(title, page.table(_CHECKS, rows, caption=caption, beneath=told))


def _surroundings(judged: Judged) -> str:
    """Show what a verdict was made with: evidence, sandbox, environment."""
    verdict = judged.verdict
    if verdict is None:
        return ""
    environment = [
        (key, page.text(short(value))) for key, value in sorted(verdict.environment.items())
    ]
    return page.section(
        f"How {judged.suite} was judged",
        page.facts([
            ("verdict", page.code(verdict.id)),
            ("base evidence", page.text(verdict.base_evidence)),
            ("sandbox", page.text(verdict.sandbox)),
            ("judged by", page.text(f"{verdict.verifier}, {verdict.dtype}, seed {verdict.seed}")),
            ("suite digest", page.code(short(verdict.suite_digest))),
            *environment,
        ]),
    )  # fmt: skip


def _check(check: CheckResult) -> list[str]:
    return [
        page.text(check.name).replace("_", "_<wbr>"),
        page.pill(check.verdict, is_small=True),
        *(_value(value) for value in (check.value, check.threshold, check.baseline)),
        seconds(check.seconds),
    ]


def _value(value: object) -> str:
    return page.text(cut(number(value), _MOST_VALUE))


def _waivers(waivers: Sequence[Waiver]) -> str:
    if not waivers:
        return ""
    rows = [[page.text(x) for x in (w.what, w.reason, w.until, w.actor)] for w in waivers]
    caption = "Let pass for a while, by somebody who may"
    return page.section("Waivers", page.table(_WAIVERS, rows, caption=caption))


def _difference(report: GateReport) -> str:
    compared = report.compared
    if compared.diff is None:
        return page.section("Change", f"<p>{page.text(compared.note)}</p>") if compared.note else ""
    if not compared.has_other:
        return sections(compared.diff, lead=_sentence(compared.note), is_alone=True)
    words = f"A is {compared.diff.a.ref}, {compared.what}; B is {compared.diff.b.ref}."
    return sections(compared.diff, lead=_sentence(compared.note) or words)


def _sentence(words: str) -> str:
    return f"{words.rstrip('.')}." if words else ""


def _history(metrics: Sequence[Metric]) -> str:
    told = [metric for metric in metrics if len(metric.points) > 1][:MOST_METRICS]
    if not told:
        return ""
    cards = "".join(map(_metric, told))
    return page.section("Measured over the versions", f'<div class="cards">{cards}</div>')


def _metric(metric: Metric) -> str:
    values = [(f"v{point.version}", point.value) for point in metric.points]
    label = f"{metric.check} by version: " + ", ".join(f"{v} {x:.4g}" for v, x in values)
    plot = history(values, threshold=metric.threshold, label=label)
    limit = f"threshold {number(metric.threshold)}" if metric.threshold is not None else ""
    return (
        f'<div class="card"><h3>{page.text(metric.check)}</h3>'
        f'<div class="figure">{number(values[-1][1])}</div>'
        f'<div class="dim limit-of">{page.text(limit)}</div>{plot}</div>'
    )


def _version(report: GateReport) -> str:
    version, base = report.version, report.base
    told = page.section(
        "Version",
        page.facts([
            ("ref", page.code(version.ref)),
            ("digest", page.code(version.digest)),
            ("kind", page.text(" ".join(filter(None, [version.kind, version.variant])))),
            ("base", f"{page.text(version.base.name)} {page.code(short(version.base.root))}"),
            ("tensors", f"{version.tensors:,} on {version.modules:,} modules"),
            ("pushed", f"{page.text(version.created_at[:16])} by {page.text(version.created_by)}"),
            ("message", page.text(version.message)),
        ]),
    )  # fmt: skip
    sizes = [("stored", version.stored_bytes), ("pushed", version.logical_bytes)]
    if base is not None:
        sizes.append(("a full copy of the model", base.logical_bytes))
    stored = page.section(
        "Storage",
        page.bars([(name, float(size_bytes), size(size_bytes)) for name, size_bytes in sizes]),
        f'<p class="dim">{page.text(stored_words(report))}</p>',
    )
    about = "".join(_surroundings(judged) for judged in report.suites)
    return f'<div class="grid">{told}{stored}{about}</div>'
