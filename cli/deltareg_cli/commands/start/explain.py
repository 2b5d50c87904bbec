"""`deltareg explain`: what a code means and what to do about it."""

import re
from difflib import get_close_matches
from importlib.resources import files

import click
from click.shell_completion import CompletionItem

from deltareg import errors
from deltareg.errors import NotFound
from deltareg_cli.commands.start.help import exit_codes
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import Block, Cell, Column, CommandResult, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.documents import items_fields
from deltareg_cli.terminal.drawing import DrawingSurface
from deltareg_cli.terminal.wording import clean
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

ORDER = 30

EXIT_CODES = "exit-codes"
SECTIONS = {
    "Refused at push, for its files": errors.FILE_CODES,
    "Refused at push, for what it is": errors.KIND_CODES,
    "Failed at verify": errors.CHECK_CODES,
    "Notes": errors.NOTE_CODES,
    "Errors": frozenset(errors.error_classes()) - errors.PROBLEM_CODES,
}
_INLINE = re.compile(r"`([^`]+)`")


class CodeParam(click.ParamType[str]):
    """A code; the shell completes it."""

    name = "code"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the codes."""
        return [CompletionItem(code) for code in codes() if code.startswith(incomplete)]


@command(
    "explain",
    Example("why was it refused?", "deltareg explain partial_application"),
    Example("all codes", "deltareg explain"),
    Example("what an exit status says", "deltareg explain exit-codes"),
    see_also=("help exit-codes", "lint", "verdict show"),
)
@click.argument("code", type=CodeParam(), required=False, help="A code, as errors and checks name it.")
@click.pass_obj
def explain(invocation: Invocation, code: str | None) -> None:
    """Explain a code: what it means and what to do about it.

    Codes stand in errors, in the problems of lint and in the checks of a verdict. Without a code
    all of them are listed.
    """
    if code is None:
        invocation.output.show(_all_codes())
    elif code == EXIT_CODES or code.isdecimal():
        invocation.output.show(exit_codes(only=code if code.isdecimal() else None))
    else:
        invocation.output.show(_one(code, invocation))


def codes() -> list[str]:
    """Return every code that has a page, sorted."""
    return sorted(errors.PROBLEM_CODES | set(errors.error_classes()))


def page(code: str) -> str:
    """Return the page of a code, in Markdown.

    Raises:
        NotFound: There is no such code.
    """
    if code not in codes():
        near = get_close_matches(code, [*codes(), EXIT_CODES], n=1)
        fix = f"deltareg explain {near[0]}" if near else "deltareg explain lists all codes"
        raise NotFound(f"there is no code {code[:60]!r}", fix=fix)
    return (files("deltareg") / "explain" / f"{code}.md").read_text(encoding="utf-8")


def status_of_code(code: str) -> ExitStatus:
    """Return the exit status that a code leads to."""
    if code in errors.CHECK_CODES:
        return ExitStatus.GATE_FAILED
    if code in errors.NOTE_CODES:
        return ExitStatus.DONE
    if code in errors.PROBLEM_CODES:
        return ExitStatus(errors.REFUSAL_EXIT_CODES.get(code, errors.Refused.exit_code))
    return ExitStatus(errors.error_classes()[code].exit_code)


def paint_page(text: str, surface: DrawingSurface) -> str:
    """Render a page for a terminal: headings, code and names in tones instead of marks."""
    if not surface.is_terminal:
        return text
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            lines.append(surface.paint(line.lstrip("# "), "strong"))
        elif line.startswith("    "):
            lines.append(surface.paint(line, "name"))
        else:
            lines.append(_INLINE.sub(lambda match: surface.paint(match[1], "name"), line))
    return "\n".join(lines) + "\n"


def _one(code: str, invocation: Invocation) -> CommandResult:
    text = page(code)
    title = text.splitlines()[0].removeprefix("# ")
    document: dict[str, object] = {"code": code, "title": title, "exit_status": int(status_of_code(code)), "text": text}
    return CommandResult(document, [], [code], raw=paint_page(text, invocation.output.result_surface))


def _all_codes() -> CommandResult:
    blocks: list[Block] = []
    items: list[dict[str, object]] = []
    for section, section_codes in SECTIONS.items():
        rows: list[list[Text]] = []
        for code in sorted(section_codes):
            summary = page(code).splitlines()[0].partition(": ")[2]
            rows.append([Cell(code, "name"), str(int(status_of_code(code))), clean(summary)])
            items.append(
                {"code": code, "section": section, "summary": summary, "exit_status": int(status_of_code(code))}
            )
        columns = [Column("code"), Column("exit", is_number=True), Column("meaning", is_prose=True)]
        blocks += [TitleBlock(section), TableBlock(columns, rows)]
    return CommandResult(items_fields(items), blocks, codes())
