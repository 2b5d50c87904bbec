"""Draws what people look at most for notebooks: versions, verdicts, channels.

The answers themselves are wire messages without any drawing. Every text is escaped, nothing is
loaded from anywhere, and a notebook that is not trusted shows plain text.
"""

from collections.abc import Sequence
from html import escape

from deltareg.wire import ChannelInfo, CheckResult, Comparison, VerdictInfo, VersionInfo
from deltareg.wire.messages import shown_by
from deltareg.wire.tables import Fields, facts_html

_TONES = {"good": "#1a7f37", "bad": "#b42318", "warn": "#9a6700"}
_STYLE = (
    ".deltareg th,.deltareg td{text-align:left;vertical-align:middle}"
    ".deltareg svg .line{stroke:#2a67ad;stroke-width:2}.deltareg svg .dot{fill:#2a67ad}"
    ".deltareg svg .none-line{stroke:#8c959f;stroke-dasharray:2 2}"
)
_OF_VERSION = ("kind", "variant", "trained_on", "base_claim", "message", "proof", "created_at", "created_by", "digest")
_OF_VERDICT = ("not_counting", "compared_with", "signed_by", "created_at", "digest", "id")


@shown_by(VersionInfo)
def version_html(version: VersionInfo) -> str:
    """Draw a version: its state beside its name, and how much of it is stored."""
    from deltareg.drawing.wording import size

    state = "revoked" if version.is_revoked else "deleted" if version.is_deleted else ""
    words = [version.verdict or "no verdict", *([state] if state else [])]
    cold = "" if version.cold_bytes is None else f", {size(version.cold_bytes)} for a cold pull"
    sizes = f"{size(version.logical_bytes)} ({size(version.stored_bytes)} stored{cold})"
    fields = {name: getattr(version, name) for name in _OF_VERSION}
    reason = version.revocation.reason if version.revocation else ""
    labels = ", ".join(f"{key}={text}" if text else key for key, text in version.labels.items())
    facts = {
        "revoked because": reason,
        "served by": ", ".join(version.channels),
        "base": version.base.name,
        "size": sizes,
        **fields,
        "labels": labels,
    }
    return _block(version.ref, words, _facts(facts))


@shown_by(VerdictInfo)
def verdict_html(verdict: VerdictInfo) -> str:
    """Draw a verdict: each check with its answer, and the intervals of comparisons."""
    facts = {"suite": verdict.suite} | {name: getattr(verdict, name) for name in _OF_VERDICT}
    waived = ", ".join(sorted({one.check for one in verdict.waivers if one.stands}))
    words = [verdict.verdict, *([] if verdict.counts else ["does not count"])]
    body = _facts(facts | {"waived": waived}) + _checks(verdict.checks)
    return _block(verdict.ref, words, body)


@shown_by(ChannelInfo)
def channel_html(channel: ChannelInfo) -> str:
    """Draw a channel: what it serves, whether it is frozen, and what is wrong with it."""
    words = [
        word
        for word, is_so in (
            ("frozen", channel.is_frozen),
            ("unfit", bool(channel.unfit)),
            ("revoked", channel.is_revoked),
            ("review due", bool(channel.to_review)),
        )
        if is_so
    ]
    facts: Fields = {
        "serves": channel.ref or "nothing",
        "revision": channel.revision,
        "by": channel.kind,
        "moved by": channel.actor,
        "reason": channel.reason,
        "at": channel.at,
        "frozen because": channel.frozen_because,
        "frozen until": channel.frozen_until,
        "unfit": "; ".join(one.message for one in channel.unfit),
        "to be reviewed": ", ".join(f"revision {one.revision}" for one in channel.to_review),
        "suites": ", ".join(channel.suites),
        "quarantined": ", ".join(f"v{number}" for number in channel.quarantined),
        "waived": ", ".join(one.check for one in channel.waivers if one.stands),
        "digest": channel.digest,
    }
    return _block(channel.channel, words, _facts(facts))


def _block(title: str, words: Sequence[str], body: str) -> str:
    marks = " ".join(map(_word, words))
    head = f"<h4>{escape(_clean(title))} {marks}</h4>"
    return f'<div class="deltareg"><style>{_STYLE}</style>{head}{body}</div>'


def _facts(facts: Fields) -> str:
    """Format facts, without characters that hide or turn text."""
    cleaned = {name: _clean(value) if isinstance(value, str) else value for name, value in facts.items()}
    return facts_html("", cleaned)


def _word(word: str) -> str:
    """Format a word in the colour of its meaning; the word is clear without the colour."""
    from deltareg.drawing.tones import tone

    others = {"frozen": "warn", "unfit": "bad", "revoked": "bad", "deleted": "bad"}
    colour = _TONES.get(tone(word) or others.get(word, "warn"), _TONES["warn"])
    return f'<span style="color:{colour};font-weight:600">{escape(_clean(word))}</span>'


def _checks(checks: Sequence[CheckResult]) -> str:
    """Format the checks as a table, failed ones first."""
    order = sorted(checks, key=lambda check: check.verdict not in {"fail", "warn"})
    names = ("check", "", "value", "threshold", "change", "detail")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _row(one))}</tr>" for one in order)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if order else ""


def _row(check: CheckResult) -> Sequence[str]:
    from deltareg.drawing.wording import cut, number

    numbers = (check.value, check.threshold)
    values = ["" if value is None else escape(_clean(str(number(value)))) for value in numbers]
    interval = "" if check.comparison is None else _interval(check, check.comparison)
    detail = escape(cut(_clean(check.detail), 300))
    return (escape(_clean(check.name)), _word(check.verdict), *values, interval, detail)


def _interval(check: CheckResult, comparison: Comparison) -> str:
    """Draw how surely little was lost, with the same in words for those who cannot see it."""
    from deltareg.drawing.sample_plots import interval
    from deltareg.drawing.wording import number

    low, high, value, baseline = comparison.low, comparison.high, check.value, check.baseline
    words = escape(_clean(f"{comparison.decision} against {comparison.against}"))
    if low is None or high is None or not isinstance(value, int | float):
        return words
    if not isinstance(baseline, int | float):
        return f"{words}<br>{escape(f'{number(low)} to {number(high)}')}"
    label = f"from {number(low)} to {number(high)}, beside {number(baseline)}"
    ends = (value - baseline, low - baseline, high - baseline)
    return f"{interval(*ends, none=0, label=label)}<br>{words}: {escape(label)}"


def _clean(text: str) -> str:
    from deltareg.drawing.wording import clean

    return clean(text)
