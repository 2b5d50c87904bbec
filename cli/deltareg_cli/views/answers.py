"""The answers of a base and its versions, one below the other."""

from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, LinesBlock, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.wording import count, seconds

if TYPE_CHECKING:
    from deltareg.wire.findings import AnswersInfo, SideAnswer

_ONE_VALUE = 1
_FORMS = {
    "version": "as a chat, by its own template",
    "base": "as a chat, by the base's template",
    "": "from the text as it stands",
}


def answer_blocks(found: "AnswersInfo", *, has_prompt: bool = False) -> list[Block]:
    """Show each answer under its author, below the prompt as that network got it if requested."""
    blocks: list[Block] = []
    for each in found.answers:
        blocks.append(TitleBlock(each.name, _describe_answer(each)))
        if has_prompt and each.given:
            heading = f"the prompt as it got it, {count(each.given_tokens, 'token')}:"
            blocks += [LinesBlock([Cell(heading, "dim")]), _lines(each.given), LinesBlock([Cell("\u2192", "dim")])]
        blocks.append(_answer(each))
    return [*blocks, LinesBlock([Cell("no gate uses an answer", "dim")])]


def _answer(each: "SideAnswer") -> Block:
    if each.why:
        return LinesBlock([Cell(each.why, "dim")])
    if not each.classes:
        return _lines(each.text)
    title = "value" if len(each.classes) == _ONE_VALUE else "share"
    rows: list[list[Text]] = [[one.name, f"{one.share:.4f}"] for one in each.classes]
    return TableBlock([Column("class"), Column(title, is_number=True)], rows)


def _lines(text: str) -> LinesBlock:
    lines: list[list[Text]] = [[line] for line in text.rstrip("\n").split("\n")]
    return LinesBlock(lines)


def _describe_answer(each: "SideAnswer") -> str:
    if each.why:
        return ""
    end = ", to its end" if each.is_over else ""
    facts = [f"{count(each.tokens, 'token')} in {seconds(each.seconds)}{end}"]
    if each.classes:
        facts = [f"{count(len(each.classes), 'class', 'classes')} in {seconds(each.seconds)}"]
    if each.given:  # a worker of the release before says nothing of it
        facts.append(_FORMS[each.template])
    if each.is_cut:
        facts.append("of a prompt that is too long, a part")
    return "; ".join(facts)
