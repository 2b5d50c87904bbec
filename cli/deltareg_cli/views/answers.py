"""What a base and its versions answered, one below the other."""

from deltareg.wire.findings import AnswersInfo, SideAnswer
from deltareg_cli.blocks import Block, Cell, Lines, Text, Title
from deltareg_cli.wording import count, seconds


def answer_blocks(found: AnswersInfo) -> list[Block]:
    """Show each answer under who gave it."""
    blocks: list[Block] = []
    for each in found.answers:
        lines: list[list[Text]] = [[line] for line in each.text.split("\n")]
        blocks += [Title(each.name, _told(each)), Lines(lines)]
    return [*blocks, Lines([Cell("no gate goes by an answer", "dim")])]


def _told(each: SideAnswer) -> str:
    end = ", to its end" if each.is_over else ""
    return f"{count(each.tokens, 'token')} in {seconds(each.seconds)}{end}"
