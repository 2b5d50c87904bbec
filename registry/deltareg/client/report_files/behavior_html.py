"""A comparison of what two versions do as HTML: a page of its own, or sections of another one."""

from collections.abc import Sequence
from datetime import datetime

import deltareg
from deltareg.client.report_files.behavior_facts import (
    Comparison,
    Continued,
    Interval,
    Measure,
    Prompt,
    Sample,
)
from deltareg.drawing import page
from deltareg.drawing.sample_plots import interval, ranked
from deltareg.drawing.side_by_side import marked, plain
from deltareg.drawing.wording import clean, number

_UNITS = {"prompts": "prompts", "suite": "samples of the suite", "probe": "seeded samples"}
_MOST_PROMPTS = 200
_MOST_TEXT = 400
_MEASURES = (
    ("measure", ""), ("A", "num"), ("B", "num"), ("change", "num"), ("95 % interval", "num"),
    ("no change in the middle", ""), ("n", "num"),
)  # fmt: skip


def to_html(found: Comparison, *, now: datetime) -> str:
    """Write a comparison as one HTML file."""
    head = (
        f"<header><h1>{page.text(found.a)} → {page.text(found.b)}</h1></header>\n"
        f'<p class="lead">What the two do. A is {page.text(found.a)}, '
        f"B is {page.text(found.b)}.</p>\n"
    )
    foot = f"deltareg {deltareg.__version__} · {now:%Y-%m-%d %H:%M} UTC"
    return page.page(f"{found.a} → {found.b}: behavior", head + sections(found), foot=foot)


def sections(found: Comparison) -> str:
    """Show totals, every sample in plots, measures, and how the texts that differ most go on."""
    return "".join(
        [_totals(found), _plots(found), _measures(found), _prompts(found), *_said(found)]
    )


def _totals(found: Comparison) -> str:
    cards = [
        _card("same first choice", found.agreement, is_share=True),
        _card("KL(A‖B), nats", found.kl),
        _card("cosine", found.cosine),
        _card("mean difference of outputs", found.mean_abs),
    ]
    told = page.pill("differs" if found.is_different else "the same")
    words = f"On {found.samples:,} {_UNITS[found.source]}, with 95 % intervals."
    about = page.facts([
        ("bases", "" if found.same_base else "two different ones, both loaded"),
        ("run in", page.text(f"{found.dtype} on {found.device}")),
        *((("note", page.text(note))) for note in found.notes),
    ])  # fmt: skip
    return page.section(
        "Behavior", f"<p>{told} {page.text(words)}</p>",
        f'<div class="cards">{"".join(cards)}</div>', f'<div class="below">{about}</div>',
    )  # fmt: skip


def _card(name: str, value: Interval | None, *, is_share: bool = False) -> str:
    if value is None:
        return ""
    return (
        f'<div class="card"><h3>{page.text(name)}</h3>'
        f'<div class="figure">{_written(value.value, is_share=is_share)}</div>'
        f'<div class="dim limit-of">{_range(value, is_share=is_share)}, n = {value.n:,}</div></div>'
    )


def _plots(found: Comparison) -> str:
    """Plot every sample: a few that are far off, or all of them a little?"""
    kinds = [
        ("Divergence by sample", "KL(A‖B) of each, nats", _values(found, "kl")),
        (
            "Another first choice by sample",
            "at which share of a sample's tokens",
            _values(found, "agreement"),
        ),
    ]
    if not kinds[0][2]:
        kinds.insert(0, ("Apart by sample", "1 - cosine of each", _values(found, "cosine")))
    told = [
        page.section(
            title, f'<p class="dim">{page.text(unit)}; the largest first</p>',
            ranked(values, label=f"{title}, {unit}"),
        )
        for title, unit, values in kinds if values
    ]  # fmt: skip
    return f'<div class="grid">{"".join(told)}</div>\n' if told else ""


def _values(found: Comparison, field: str) -> list[tuple[str, float]]:
    return [
        (f"{one.set} {one.number}", value)
        for one in found.by_sample
        if (value := _distance(one, field)) is not None
    ]


def _distance(one: Sample, field: str) -> float | None:
    if field == "kl":
        return None if one.kl is None else max(0.0, one.kl)  # a rounding error is no distance
    near = one.agreement if field == "agreement" else one.cosine
    return None if near is None else max(0.0, 1 - near)


def _measures(found: Comparison) -> str:
    if not found.measures:
        return ""
    caption = (
        "Both on the same samples; a change is decided where its interval leaves no change out"
    )
    rows = [_measure(one) for one in found.measures]
    return page.section("Measures", page.table(_MEASURES, rows, caption=caption))


def _measure(one: Measure) -> list[str]:
    name = f'{page.text(one.name)} <span class="dim">on {page.text(one.set)}</span>'
    if one.a is None or one.b is None:
        return [name, "-", "-", '<span class="dim">does not apply</span>', "", "", "-"]
    both = [_written(one.a.value), _written(one.b.value)]
    change = one.change
    if change is None:
        return [name, *both, "-", "", "", f"{one.a.n:,}"]
    is_factor = one.change_is == "factor"
    sign = "×" if is_factor else "+" if (change.value or 0) > 0 else ""  # noqa: RUF001
    written = f"{sign}{_written(change.value)}"
    tone = "strong" if one.is_decided else "dim"
    ends = (change.value, change.low, change.high)
    plot = ""
    if None not in ends:
        value, low, high = (float(end or 0.0) for end in ends)
        label = f"change of {one.name}: {written}, {_range(change)}"
        plot = interval(value, low, high, none=1.0 if is_factor else 0.0, label=label)
    told = f'<span class="{tone}">{written}</span>'
    return [name, *both, told, _range(change), plot, f"{one.a.n:,}"]


def _prompts(found: Comparison) -> str:
    if not found.prompts:
        return ""
    is_scored = found.kl is not None or found.agreement is not None
    shown = ("KL", "same first") if is_scored else ("cosine",)
    noun = "sample" if found.source == "probe" else "prompt"
    columns = ((noun, ""), *((name, "num") for name in (*shown, "apart")))
    rows = [_prompt(one, is_scored=is_scored) for one in found.prompts[:_MOST_PROMPTS]]
    caption = f"The {len(rows):,} that differ most of {found.samples:,}"
    return page.section(f"{noun.capitalize()}s", page.table(columns, rows, caption=caption))


def _prompt(one: Prompt, *, is_scored: bool) -> list[str]:
    values = (
        [_written(one.kl), _written(one.agreement, is_share=True)]
        if is_scored else [_written(one.cosine)]
    )  # fmt: skip
    text = _cut(one.text) if one.text else one.set
    name = f'#{one.number} <span class="prose">{page.text(text)}</span>'
    return [name, *values, _written(one.mean_abs)]


def _said(found: Comparison) -> list[str]:
    """Show how the two go on, side by side."""
    told = [
        _continuation(one, one.continued)
        for one in found.prompts[:_MOST_PROMPTS]
        if one.continued is not None
    ]
    if not told:
        return []
    legend = page.legend([("a", f"A · {found.a}"), ("b", f"B · {found.b}")])
    words = '<p class="dim">Greedily; words that the other has not are marked.</p>'
    return [page.section("How they go on", words, legend, *told)]


def _continuation(one: Prompt, found: Continued) -> str:
    where = "both the same" if found.parts_at is None else f"part at token {found.parts_at_token}"
    head = (
        f'<h3>#{one.number} <span class="dim">{page.text(one.set)}, {where}</span></h3>'
        f'<p class="prompt">{page.text(_cut(one.text, is_end=True))}</p>'
    )
    if found.parts_at is None:
        return f'<article class="said">{head}{_says(plain(found.a))}</article>'
    sides = "".join(
        f'<div><h4 class="{style}">{style.upper()}</h4>{_says(words)}</div>'
        for style, words in zip(("a", "b"), marked(found.a, found.b), strict=True)
    )
    return f'<article class="said">{head}<div class="pair">{sides}</div></article>'


def _says(words: str) -> str:
    shown = words or '<span class="dim">nothing</span>'
    return f'<p class="says">{shown}</p>'


def _cut(text: str, *, is_end: bool = False) -> str:
    """Shorten a prompt: to its end where it is what somebody goes on from."""
    shown = clean(text)
    if len(shown) <= _MOST_TEXT:
        return shown
    return f"…{shown[1 - _MOST_TEXT :]}" if is_end else f"{shown[: _MOST_TEXT - 1]}…"


def _range(value: Interval, *, is_share: bool = False) -> str:
    ends: Sequence[float | None] = (value.low, value.high)
    return f"[{', '.join(_written(end, is_share=is_share) for end in ends)}]"


def _written(value: float | None, *, is_share: bool = False) -> str:
    return f"{value:.1%}" if is_share and value is not None else number(value)
