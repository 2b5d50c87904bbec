"""The page of an HTML report: one file that asks no network, and the pieces that it is made of."""

from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from math import isfinite

from deltareg.drawing.wording import clean, cut
from deltareg.errors import Blocked, GateFailed
from deltareg.gate.ruling import RULE_ERRORS

MOST = 2_000
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
TONES: dict[str, str] = {
    **{
        rule: "bad" if error in {Blocked, GateFailed} else "warn"
        for rule, error in RULE_ERRORS.items()
    },
    "pass": "good", "allowed": "good", "passed": "good", "added": "good",
    "fail": "bad", "blocked": "bad", "removed": "bad", "the same": "good",
    "warn": "warn", "pending": "warn", "skipped": "warn", "differs": "warn",
}  # fmt: skip


def page(title: str, body: str, *, foot: str) -> str:
    """Give the whole file."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="referrer" content="no-referrer">
<title>{text(title)}</title>
<style>
{_style()}</style>
</head>
<body>
<main>
{body}
<footer>{text(foot)}</footer>
</main>
</body>
</html>
"""


@cache
def _style() -> str:
    return (files("deltareg.drawing") / "report.css").read_text(encoding="utf-8")


def text(words: str) -> str:
    """Write text of others: no markup, nothing that turns or hides it, and no megabytes."""
    return escape(cut(clean(words), MOST))


def code(words: str) -> str:
    """Write a name or a command."""
    return f"<code>{text(words)}</code>"


def path(words: str) -> str:
    """Write a dotted path, which a narrow screen breaks behind a dot."""
    return f"<code>{text(words).replace('.', '.<wbr>')}</code>"


def pill(word: str, *, is_small: bool = False) -> str:
    """Write a word of the glossary in its colour."""
    tone = TONES.get(word, "")
    small = " small" if is_small else ""
    return f'<span class="pill{small} {tone}">{text(word)}</span>'


def section(title: str, *parts: str) -> str:
    """Write a section under a heading."""
    return f"<section><h2>{text(title)}</h2>\n{''.join(parts)}</section>\n"


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Write labels with values, which are markup; rows without a value are left out."""
    told = [f"<dt>{text(label)}</dt><dd>{value}</dd>" for label, value in rows if value]
    return f"<dl>{''.join(told)}</dl>"


def table(
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    beneath: Sequence[str] = (),
) -> str:
    """Write a table that scrolls in itself; columns are a title and a class, cells are markup.

    Text of `beneath` stands under each row, over its whole width; empty for none.
    """
    head = "".join(f'<th scope="col" class="{style}">{text(name)}</th>' for name, style in columns)
    notes = beneath or [""] * len(rows)
    body = "".join(
        f'<tr class="{"noted" if note else ""}">{_row(columns, row)}</tr>\n{_note(note, len(row))}'
        for row, note in zip(rows, notes, strict=True)
    )
    inner = (
        f"<table><caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )
    return scroll(inner, label=caption)


def _row(columns: Sequence[tuple[str, str]], row: Sequence[str]) -> str:
    first = f'<th scope="row">{row[0]}</th>'
    pairs = zip(columns[1:], row[1:], strict=True)
    return first + "".join(f'<td class="{style}">{cell}</td>' for (_, style), cell in pairs)


def _note(note: str, columns: int) -> str:
    if not note:
        return ""
    return f'<tr class="note"><td colspan="{columns}"><div>{text(note)}</div></td></tr>\n'


def bars(rows: Sequence[tuple[str, float, str]]) -> str:
    """Write values as bars: a name, a value from zero up, and words for it."""
    most = max((value for _, value, _ in rows if isfinite(value)), default=0.0) or 1.0
    told = [
        f"<li><span>{text(name)}</span><b>{text(words)}</b>"
        f'<i style="--share:{min(1.0, value / most) if isfinite(value) else 1.0:.4f}"></i></li>'
        for name, value, words in rows
    ]
    return f'<ul class="bars">{"".join(told)}</ul>'


def scroll(inner: str, *, label: str) -> str:
    """Let something wide scroll by itself, by touch and by keyboard."""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(label)}">{inner}</div>'
    )


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Name the lines of a plot: a class and words each."""
    told = [f'<span><i class="{style}"></i>{text(words)}</span>' for style, words in entries]
    return f'<div class="legend">{"".join(told)}</div>'
