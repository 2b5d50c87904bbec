"""`deltareg search`: versions by what is known of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, label_filter_option, limit_option, option
from deltareg_cli.terminal.blocks import Cell, Column, CommandResult, TableBlock, Text
from deltareg_cli.terminal.documents import page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.terminal.wording import moment
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.versions import kind_of, label_words, verdict_of

if TYPE_CHECKING:
    from deltareg.wire import SearchHit

ORDER = 82


@command(
    "search",
    Example("by words of the card, the message, labels and names", "deltareg search german chat"),
    Example("by the beginning of a word", "deltareg search 'summar*' --kind lora"),
    Example("by what checks or the card say", "deltareg search --metric 'accuracy>=0.9'"),
    Example("on a base, in a team, with a label", "deltareg search --base llama-3.1-8b --in team --label tested=yes"),
    see_also=("ls", "card", "label", "show"),
)
@click.argument("words", metavar="[WORD]...", nargs=-1, help="Words that all have to be there; WORD* begins so.")
@label_filter_option()
@option("--base", metavar="NAME", default="", help="Only on this base.")
@option("--kind", metavar="KIND", default="", help="Only of this kind.")
@option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME>=VALUE",
    help="Only where a check or the card says so: >=, <=, >, < or =; may be repeated.",
)
@option("--in", "within", metavar="NS | NS/NAME", default="", help="Only in this namespace or line.")
@option("--newest", is_flag=True, help="Only the newest version of each line.")
@limit_option()
@cursor_option()
@click.pass_obj
def search(
    invocation: Invocation,
    words: tuple[str, ...],
    *,
    labels: dict[str, str | None],
    base: str,
    kind: str,
    metrics: tuple[str, ...],
    within: str,
    newest: bool,
    limit: int,
    cursor: str | None,
) -> None:
    """Find versions by what is known of them, newest first.

    All that is asked has to be so, and only what you may read is found. Words are looked for in the
    title, tags, languages and first lines of the card, in the message, in labels, in the names of
    line and namespace; upper and lower case are one. A metric is a check by its name, as the newest
    verdict of each suite has its value, a result that the card claims, or a label `metric.NAME`
    that holds a number; which of the three it is stands beside it.
    """
    page = invocation.client.versions.search(
        " ".join(words),
        labels=labels,
        base=base,
        kind=kind,
        metrics=metrics,
        within=within,
        newest=newest,
        cursor=cursor,
        limit=limit,
    )
    table = _table(page.items, invocation, if_empty=_explain_nothing(words))
    ids = [hit.ref for hit in page.items]
    invocation.output.show(CommandResult(page_fields(page), [table], ids))
    note_more(invocation.output, page.next_cursor)


def _explain_nothing(words: Sequence[str]) -> str:
    """Explain an empty result, and which option a word such as `base=x` was probably meant to be."""
    for word in words:
        key, equals, value = word.partition("=")
        if equals and value:
            meant = f"--{key} {value}" if key in {"base", "kind", "in"} else f"--label {word}"
            return f"nothing is found: {word} was looked for as a word; did you mean {meant}?"
    return "nothing is found that you may read"


def _table(hits: Sequence["SearchHit"], invocation: Invocation, *, if_empty: str) -> TableBlock:
    has_metrics = any(hit.metrics for hit in hits)
    columns = [
        Column("version"),
        Column("kind"),
        Column("base"),
        Column("verdict"),
        *([Column("metrics")] if has_metrics else ()),
        Column("pushed"),
        Column("about", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(hit.ref, "name"),
            kind_of(hit),
            hit.base.name,
            verdict_of(hit),
            *([_metrics(hit)] if has_metrics else ()),
            moment(hit.created_at, now=invocation.now),
            hit.title or hit.summary or hit.message or label_words(hit.labels),
        ]
        for hit in hits
    ]
    return TableBlock(columns, rows, if_empty=if_empty)


def _metrics(hit: "SearchHit") -> str:
    return ", ".join(f"{each.name} {each.value:g} ({each.source})" for each in hit.metrics)
