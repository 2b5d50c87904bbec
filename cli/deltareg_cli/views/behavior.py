"""What two versions do on the same inputs, as blocks and as Markdown."""

from collections.abc import Mapping, Sequence
from typing import cast

from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, LinesBlock, TableBlock, Text, TitleBlock, Tone
from deltareg_cli.terminal.markdown import code, prose
from deltareg_cli.terminal.wording import clean, count, cut, number

Fields = Mapping[str, object]
_COLUMNS = ("KL", "same first", "apart")
_MEASURES = ("measure", "a", "b", "change", "n")
_UNITS = {"prompts": "prompt", "suite": "sample", "probe": "seeded sample"}
_MOST_TEXT = 60
_MARK = "▸"
_TIMES = "\u00d7"


def behavior_blocks(answer: Fields) -> list[Block]:
    """Show a comparison: totals, measures, and how the prompts that differ most continue."""
    blocks: list[Block] = [TitleBlock(f"{answer['a']} → {answer['b']}", "behavior"), FactsBlock(_facts(answer))]
    measures = _measures(answer)
    if measures:
        columns = [Column(title, is_number=i > 0) for i, title in enumerate(_MEASURES)]
        blocks += [TitleBlock("Measures", "95 % intervals, on the same samples"), TableBlock(columns, measures)]
    prompts = _prompts(answer)
    if prompts:
        columns = [Column(title, is_number=True) for title in ("#", *_titles(answer))]
        rows = [_row(one, answer) for one in prompts]
        columns.append(Column(_heading(answer)))
        blocks += [TitleBlock("Prompts", "those that differ most first"), TableBlock(columns, rows)]
    blocks += _continuations(prompts)
    notes = cast("Sequence[str]", answer["notes"])
    if notes:
        blocks += [LinesBlock(["", *(Cell(note, "dim") for note in notes)])]
    return blocks


def behavior_markdown(answer: Fields) -> str:
    """Write a comparison as Markdown, for a comment or a page."""
    lines = [f"### {code(str(answer['a']))} → {code(str(answer['b']))}: behavior", ""]
    lines += [f"- **{label}**: {prose(_plain(text))}" for label, text in _facts(answer) if text]
    measures = _measures(answer)
    if measures:
        lines += ["", f"| {' | '.join(_MEASURES)} |", "|---|---:|---:|---:|---:|"]
        lines += [f"| {' | '.join(prose(_plain(cell)) for cell in row)} |" for row in measures]
    prompts = _prompts(answer)
    if prompts:
        titles = ("#", *_titles(answer))
        lines += ["", f"| {' | '.join((*titles, _heading(answer)))} |"]
        lines += [f"|{'---:|' * len(titles)}---|"]
        for one in prompts:
            *cells, text = (_plain(cell) for cell in _row(one, answer))
            lines.append(f"| {' | '.join((*cells, code(text) if text else ''))} |")
    for one in prompts:
        lines += _continuation_markdown(one)
    lines += [f"\n{prose(note)}" for note in cast("Sequence[str]", answer["notes"])]
    return "\n".join(lines) + "\n"


def _facts(answer: Fields) -> list[tuple[str, Text]]:
    source = str(answer["source"])
    whole = count(cast("int", answer["samples"]), _UNITS[source])
    agreement = _estimate(answer["agreement"], is_share=True)
    tone: Tone = "warn" if answer["is_different"] else "good"
    unit = "nats a token" if _has_tokens(answer) else "nats"
    return [
        ("same first choice", Cell(agreement, tone) if agreement else ""),
        ("KL(a‖b)", _and_unit(_estimate(answer["kl"]), unit)),
        ("cosine", _estimate(answer["cosine"])),
        ("mean difference", _estimate(answer["mean_abs"])),
        ("differs", Cell("yes" if answer["is_different"] else "no", tone)),
        ("compared on", whole),
        ("bases", "" if answer["same_base"] else "two different ones, both loaded"),
        ("run in", f"{answer['dtype']} on {answer['device']}"),
    ]


def _measures(answer: Fields) -> list[list[Text]]:
    rows: list[list[Text]] = []
    for one in cast("Sequence[Fields]", answer["measures"]):
        if one["a"] is None:
            rows.append([str(one["name"]), "-", "-", Cell("does not apply", "dim"), "-"])
            continue
        mark = _TIMES if one["change_is"] == "factor" else ""
        change = cast("Fields | None", one["change"])
        text = "-" if change is None else f"{mark}{_interval(change, is_signed=not mark)}"
        a, b = (cast("Fields", one[side]) for side in ("a", "b"))
        tone: Tone = "warn" if one["is_decided"] else "dim"
        rows.append(
            [f"{one['name']} on {one['set']}", number(a["value"]), number(b["value"]), Cell(text, tone), str(a["n"])]
        )
    return rows


def _row(one: Fields, answer: Fields) -> list[Text]:
    is_scored = answer["kl"] is not None or answer["agreement"] is not None
    values = [one["kl"], one["agreement"], one["mean_abs"]] if is_scored else [one["cosine"], one["mean_abs"]]
    cells = [number(value) for value in values]
    if is_scored and isinstance(one["agreement"], float):
        cells[1] = _share(one["agreement"])
    label = str(one["number"])
    text = cut(clean(str(one["text"])), _MOST_TEXT) or f"{one['set']} {label}"
    return [label, *cells, text]


def _titles(answer: Fields) -> tuple[str, ...]:
    is_scored = answer["kl"] is not None or answer["agreement"] is not None
    return _COLUMNS if is_scored else ("cosine", "apart")


def _heading(answer: Fields) -> str:
    return "sample" if answer["source"] == "probe" else "prompt"


def _continuations(prompts: Sequence[Fields]) -> list[Block]:
    lines: list[Text | Sequence[Text]] = []
    for one in prompts:
        continued = cast("Fields | None", one["continued"])
        if continued is None:
            continue
        lines.append([Cell(f"#{one['number']}", "strong"), Cell(_end(str(one["text"])), "dim")])
        if continued["parts_at_token"] is None:
            lines.append([Cell("  both", "good"), _visible(continued["a"])])
            continue
        at = cast("int", continued["parts_at"])
        for side in ("a", "b"):
            text = str(continued[side])
            parted = f"{_visible(text[:at])}{_MARK}{_visible(text[at:])}"
            lines.append([Cell(f"  {side}   ", "name"), parted])
    if not lines:
        return []
    return [TitleBlock("Continued", f"greedily; {_MARK} is where the two part"), LinesBlock(lines)]


def _continuation_markdown(one: Fields) -> list[str]:
    continued = cast("Fields | None", one["continued"])
    if continued is None or continued["parts_at_token"] is None:
        return []
    at = cast("int", continued["parts_at"])
    lines = ["", f"**#{one['number']}** {code(_end(str(one['text'])))}", ""]
    for side in ("a", "b"):
        text = str(continued[side])
        lines.append(f"- {side}: {code(f'{_visible(text[:at])}{_MARK}{_visible(text[at:])}')}")
    return lines


def _visible(text: object) -> str:
    """Put a text on one line, its line ends visible."""
    return clean(str(text).replace("\r\n", "\n").replace("\n", "⏎"))


def _end(text: str) -> str:
    shown = _visible(text)
    return shown if len(shown) <= _MOST_TEXT else f"…{shown[1 - _MOST_TEXT :]}"


def _prompts(answer: Fields) -> Sequence[Fields]:
    return cast("Sequence[Fields]", answer["prompts"])


def _has_tokens(answer: Fields) -> bool:
    return any(isinstance(one["places"], int) and one["places"] > 1 for one in _prompts(answer))


def _estimate(value: object, *, is_share: bool = False) -> str:
    if value is None:
        return ""
    fields = cast("Fields", value)
    return f"{_interval(fields, is_share=is_share)}, n = {fields['n']}"


def _interval(fields: Fields, *, is_share: bool = False, is_signed: bool = False) -> str:
    write = _share if is_share else number
    value, low, high = (fields[name] for name in ("value", "low", "high"))
    sign = "+" if is_signed and isinstance(value, float) and value > 0 else ""
    text = f"{sign}{write(value)}"
    return text if fields.get("n") == 1 else f"{text} [{write(low)}, {write(high)}]"


def _share(value: object) -> str:
    return f"{value:.1%}" if isinstance(value, float) else "-"


def _and_unit(text: str, unit: str) -> str:
    return f"{text} ({unit})" if text else ""


def _plain(text: Text) -> str:
    return text.text if isinstance(text, Cell) else text
