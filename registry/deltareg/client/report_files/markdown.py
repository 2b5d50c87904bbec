"""A report as Markdown, short enough for a comment on a change request, with a marker first.

The marker lets a later run find the comment and overwrite it. Text from others cannot mention
people, link, or break out of its cell.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from deltareg.client.report_files.facts import GateReport, ReportWaiver, Standing, SuiteOutcome, told_signers
from deltareg.drawing.wording import clean, cut, number, seconds, short, size
from deltareg.wire import CheckResult

if TYPE_CHECKING:
    from deltareg.delta.compare import WeightDifference

MOST = 60_000
MOST_MODULES = 10
_MOST_CELL, _MOST_LINE, _MOST_CHECKS, _MOST_RULES = 200, 500, 60, 30
_CUT = "\n\n_Cut here: the report as HTML or JSON has the rest._\n"
HEADLINES: dict[Standing, str] = {
    "allowed": "✅ **Allowed**",
    "failed": "❌ **Failed**",
    "pending": "⏳ **Pending**",
    "inconclusive": "⚠️ **Inconclusive**",
    "blocked": "⛔ **Blocked**",
}
_SIGNS = {"pass": "✅", "fail": "❌", "warn": "⚠️", "skipped": "⏭️", "n/a": "▫️"}
_JOINER = "\u200b"  # stands in links and mentions; `clean` has taken out those of others
_ESCAPES = str.maketrans(
    {
        **{c: f"\\{c}" for c in "\\`*_[]~$"},
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "|": "&#124;",
        "@": "@&#8203;",
        "#": "#&#8203;",
        _JOINER: "&#8203;",
    }
)


def marker(report: GateReport) -> str:
    """Return the hidden first line, the same for every run about one line and channel."""
    word = "verify" if report.answer is None else "gate"
    return f"<!-- deltareg:{word} {report.subject} -->"


def headline(report: GateReport) -> str:
    """Describe how the version stands in a few words, without symbols."""
    ref, answer = report.version.ref, report.answer
    if answer is None:
        return f"{ref}: verification of " + " and ".join(f"suite {one.suite} gave {one.word}" for one in report.suites)
    if report.standing == "allowed":
        return f"{ref} may go to {answer.channel}"
    count = len(answer.unmet)
    rules = "1 rule is unmet" if count == 1 else f"{count} rules are unmet"
    return f"{ref} may not go to {answer.channel}: {rules}"


def to_markdown(report: GateReport) -> str:
    """Format a report as Markdown of at most 60,000 characters."""
    word = HEADLINES[report.standing]
    if report.answer is None and report.standing == "allowed":
        word = "✅ **Passed**"
    sections = [
        f"{marker(report)}\n{word} · {_prose(headline(report))}",
        _unmet(report),
        *(_checks(judged) for judged in report.suites),
        _waivers(report.waivers),
        _difference(report),
        _facts(report),
    ]
    text = "\n\n".join(section for section in sections if section) + "\n"
    return text if len(text) <= MOST else text[: MOST - len(_CUT)].rpartition("\n")[0] + _CUT


def _unmet(report: GateReport) -> str:
    if report.answer is None or not report.answer.unmet:
        return ""
    lines = ["### What is missing", ""]
    for rule in report.answer.unmet[:_MOST_RULES]:
        lines.append(f"- **{_prose(rule.rule)}**: {_prose(rule.message)}")
        lines.append(f"  → {code(rule.fix)}" if rule.fix else "")
    more = len(report.answer.unmet) - _MOST_RULES
    lines.append(f"- and {more} more" if more > 0 else "")
    return "\n".join(line for at, line in enumerate(lines) if line or at == 1)


def _checks(judged: SuiteOutcome) -> str:
    title = f"### Suite {_prose(judged.suite)}: {judged.word}"
    if judged.verdict is None:
        return f"{title}\n\n{_prose(judged.why)}" if judged.why else title
    title += f" ({_prose(judged.counted)})"
    rows = [_check(check) for check in judged.verdict.checks[:_MOST_CHECKS]]
    columns = ["check", "verdict", "value", "threshold", "baseline", "took"]
    details = [
        f"- **{_prose(check.name)}** {_prose(f'{check.code}: {check.detail}'.strip(': '))}"
        for check in judged.verdict.checks[:_MOST_CHECKS]
        if check.verdict in {"fail", "warn", "skipped"} and (check.detail or check.code)
    ]
    table = _table(columns, "--rrrr", rows)
    return "\n\n".join([title, table, *(["\n".join(details)] if details else [])])


def _check(check: CheckResult) -> list[str]:
    return [
        _cell_code(check.name),
        f"{_SIGNS.get(check.verdict, '')} {check.verdict}",
        *(_cell(number(value)) for value in (check.value, check.threshold, check.baseline)),
        seconds(check.seconds),
    ]


def _waivers(waivers: Sequence[ReportWaiver]) -> str:
    if not waivers:
        return ""
    rows = [[_cell(x) for x in (w.what, w.reason, w.until, w.actor)] for w in waivers[:_MOST_RULES]]
    return "### Waived\n\n" + _table(["what", "reason", "until", "by"], "----", rows)


def _difference(report: GateReport) -> str:
    compared = report.compared
    if compared.diff is None or not compared.has_other:
        return f"_{_prose(compared.note)}_" if compared.note and not compared.has_other else ""
    diff = compared.diff
    title = f"### Change from {_prose(compared.what)} ({code(diff.a.ref)})"
    if not diff.is_different or not diff.modules:
        return f"{title}\n\n{_prose(compared.note or diff.note or 'No module differs.')}"
    rows = [_module(module) for module in diff.modules[:MOST_MODULES]]
    more = len(diff.modules) - len(rows)
    rest = [f"_and {more:,} more modules_"] if more > 0 else []
    rest += [_prose(diff.note)] if diff.note else []
    columns = ["module", "relative change", "cosine", "‖ΔW‖ before", "‖ΔW‖ now"]
    return "\n\n".join([title, _table(columns, "-rrrr", rows), *rest])


def _module(module: "WeightDifference") -> list[str]:
    values = (module.relative_norm, module.cosine, module.norm_a, module.norm_b)
    return [_cell_code(module.module), *(number(value) for value in values)]


def _facts(report: GateReport) -> str:
    version = report.version
    rows = [
        ("version", f"{_cell_code(version.ref)} · {code(short(version.digest))} · {_cell(version.kind)}"),
        ("base", f"{_cell_code(version.base.name)} · {code(short(version.base.root))}"),
        ("stored", stored_words(report)),
    ]
    signers = [_cell(words) for words in told_signers(version)]
    rows += [("signed by", " · ".join(signers))] if signers else []
    for judged in report.suites:
        verdict = judged.verdict
        if verdict is not None:
            about = [
                f"base evidence {verdict.base_evidence}",
                f"sandbox {verdict.sandbox}",
                verdict.verifier,
                verdict.dtype,
            ]
            rows.append((f"judged ({judged.suite})", _cell(" · ".join(filter(None, about)))))
    body = _table(["", ""], "--", [[_cell(label), text] for label, text in rows])
    return f"<details><summary>Version, storage, environment</summary>\n\n{body}\n\n</details>"


def stored_words(report: GateReport) -> str:
    """Describe what the version takes in the store compared with a full copy of the model."""
    version, base = report.version, report.base
    words = f"{size(version.stored_bytes)} of {size(version.logical_bytes)} pushed"
    if base is None or base.logical_bytes <= version.stored_bytes:
        return words
    saved = base.logical_bytes - version.stored_bytes
    share = saved / base.logical_bytes
    whole = size(base.logical_bytes)
    return f"{words}; a full copy of the model is {whole}: {size(saved)} saved ({share:.1%})"


def _table(columns: Sequence[str], aligned: str, rows: Iterable[Sequence[str]]) -> str:
    rule = "|".join("---:" if side == "r" else "---" for side in aligned)
    lines = [f"| {' | '.join(columns)} |", f"|{rule}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _cell(text: str) -> str:
    return _escape(cut(clean(text), _MOST_CELL))


def _prose(text: str) -> str:
    return _escape(cut(clean(text), _MOST_LINE))


def _escape(text: str) -> str:
    """Escape others' text, so that it is no Markdown or HTML, mentions nobody and has no links."""
    return re.sub(r"(:)(?=//)|(www)(?=\.)", rf"\g<0>{_JOINER}", text).translate(_ESCAPES)


def _cell_code(text: str) -> str:
    """Format code in a table, where a bar would end the cell even inside of code."""
    return code(text.replace("|", "¦"))


def code(text: str) -> str:
    """Format text from others as code that nothing in it can end; commands can still be copied."""
    plain = cut(clean(text), _MOST_LINE).strip() or "-"
    longest = max((len(run) for run in re.findall("`+", plain)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{plain}{pad}{fence}"
