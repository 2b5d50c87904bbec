"""A behavior comparison as HTML: a page of its own, or sections of another page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import deltareg
from deltareg.client.report_files import ROOM
from deltareg.client.report_files.behavior_facts import (
    BehaviorComparison,
    BehaviorContinuation,
    BehaviorInterval,
    BehaviorMeasure,
    BehaviorPrompt,
    BehaviorSample,
)
from deltareg.drawing.rendering import render
from deltareg.drawing.sample_plots import draw_ranked_bars, interval
from deltareg.drawing.side_by_side import Piece, mark_differences, plain
from deltareg.drawing.wording import clean, number

_UNITS = {"prompts": "prompts", "suite": "samples of the suite", "probe": "seeded samples"}
_MOST_PROMPTS = 200
_MOST_TEXT = 400
_MEASURES = (
    ("measure", ""),
    ("A", "num"),
    ("B", "num"),
    ("change", "num"),
    ("95 % interval", "num"),
    ("no change in the middle", ""),
    ("n", "num"),
)


@dataclass(frozen=True, slots=True)
class _Row:
    """A measure as a row of the table."""

    name: str
    set: str
    a: str = "-"
    b: str = "-"
    change: str = "-"
    interval: str = ""
    plot: str = ""
    n: str = "-"
    is_decided: bool = False


@dataclass(frozen=True, slots=True)
class _Shown:
    """One of the samples that differ most, as a row of the table."""

    number: int
    text: str
    values: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Said:
    """How both continue a prompt: one text if both say the same."""

    number: int
    where: str
    prompt: str
    sides: Sequence[Sequence[Piece]]


def to_html(found: BehaviorComparison, *, now: datetime) -> str:
    """Format a comparison as one HTML file."""
    foot = f"deltareg {deltareg.__version__} · {now:%Y-%m-%d %H:%M} UTC"
    return render("behavior.html.jinja", room=ROOM, found=found, sections=sections(found), foot=foot)


def sections(found: BehaviorComparison) -> str:
    """Format totals, plots of every sample, measures, and how the most different texts go on."""
    prompts = found.prompts[:_MOST_PROMPTS]
    is_scored = found.kl is not None or found.agreement is not None
    noun = "sample" if found.source == "probe" else "prompt"
    values = ("KL", "same first") if is_scored else ("cosine",)
    return render(
        "behavior_sections.html.jinja",
        room=ROOM,
        found=found,
        measured_on=f"On {found.samples:,} {_UNITS[found.source]}, with 95 % intervals.",
        totals=_totals(found),
        about=[
            ("bases", "" if found.same_base else "two different ones, both loaded"),
            ("run in", f"{found.dtype} on {found.device}"),
            *(("note", note) for note in found.notes),
        ],
        plots=_plots(found),
        measures=[_measure(one) for one in found.measures],
        measure_columns=_MEASURES,
        noun=noun,
        prompts=[_prompt(one, is_scored=is_scored) for one in prompts],
        prompt_columns=((noun, ""), *((name, "num") for name in (*values, "apart"))),
        prompts_caption=f"The {len(prompts):,} that differ most of {found.samples:,}",
        said=[_describe_continuation(one, one.continued) for one in prompts if one.continued is not None],
    )


def _totals(found: BehaviorComparison) -> list[tuple[str, str, str]]:
    return [
        (name, _format_value(value.value, is_share=is_share), f"{_range(value, is_share=is_share)}, n = {value.n:,}")
        for name, value, is_share in (
            ("same first choice", found.agreement, True),
            ("KL(A‖B), nats", found.kl, False),
            ("cosine", found.cosine, False),
            ("mean difference of outputs", found.mean_abs, False),
        )
        if value is not None
    ]


def _plots(found: BehaviorComparison) -> list[tuple[str, str, str]]:
    """Plot every sample, to show whether a few are far off or all of them a little."""
    kinds = [
        ("Divergence by sample", "KL(A‖B) of each, nats", _values(found, "kl")),
        ("Another first choice by sample", "at which share of a sample's tokens", _values(found, "agreement")),
    ]
    if not kinds[0][2]:
        kinds.insert(0, ("Apart by sample", "1 - cosine of each", _values(found, "cosine")))
    return [
        (title, unit, draw_ranked_bars(values, label=f"{title}, {unit}")) for title, unit, values in kinds if values
    ]


def _values(found: BehaviorComparison, field: str) -> list[tuple[str, float]]:
    return [
        (f"{one.set} {one.number}", value) for one in found.by_sample if (value := _distance(one, field)) is not None
    ]


def _distance(one: BehaviorSample, field: str) -> float | None:
    if field == "kl":
        return None if one.kl is None else max(0.0, one.kl)  # a rounding error is no distance
    near = one.agreement if field == "agreement" else one.cosine
    return None if near is None else max(0.0, 1 - near)


def _measure(one: BehaviorMeasure) -> _Row:
    if one.a is None or one.b is None:
        return _Row(one.name, one.set, change="does not apply")
    a, b, n = _format_value(one.a.value), _format_value(one.b.value), f"{one.a.n:,}"
    change = one.change
    if change is None:
        return _Row(one.name, one.set, a, b, n=n)
    is_factor = one.change_is == "factor"
    sign = "×" if is_factor else "+" if (change.value or 0) > 0 else ""  # noqa: RUF001
    text = f"{sign}{_format_value(change.value)}"
    ends = (change.value, change.low, change.high)
    plot = ""
    if None not in ends:
        value, low, high = (float(end or 0.0) for end in ends)
        label = f"change of {one.name}: {text}, {_range(change)}"
        plot = interval(value, low, high, none=1.0 if is_factor else 0.0, label=label)
    return _Row(one.name, one.set, a, b, text, _range(change), plot, n, bool(one.is_decided))


def _prompt(one: BehaviorPrompt, *, is_scored: bool) -> _Shown:
    values = (
        [_format_value(one.kl), _format_value(one.agreement, is_share=True)]
        if is_scored
        else [_format_value(one.cosine)]
    )
    text = _cut(one.text) if one.text else one.set
    return _Shown(one.number, text, [*values, _format_value(one.mean_abs)])


def _describe_continuation(one: BehaviorPrompt, found: BehaviorContinuation) -> _Said:
    where = "both the same" if found.parts_at is None else f"part at token {found.parts_at_token}"
    sides = (plain(found.a),) if found.parts_at is None else mark_differences(found.a, found.b)
    return _Said(one.number, f"{one.set}, {where}", _cut(one.text, is_end=True), sides)


def _cut(text: str, *, is_end: bool = False) -> str:
    """Shorten a prompt; keep its end if the models continue it."""
    cleaned = clean(text)
    if len(cleaned) <= _MOST_TEXT:
        return cleaned
    return f"…{cleaned[1 - _MOST_TEXT :]}" if is_end else f"{cleaned[: _MOST_TEXT - 1]}…"


def _range(value: BehaviorInterval, *, is_share: bool = False) -> str:
    ends: Sequence[float | None] = (value.low, value.high)
    return f"[{', '.join(_format_value(end, is_share=is_share) for end in ends)}]"


def _format_value(value: float | None, *, is_share: bool = False) -> str:
    return f"{value:.1%}" if is_share and value is not None else number(value)
