"""Says where a list goes on."""

from deltareg_cli.terminal.output import Output


def note_more(output: Output, next_cursor: str | None) -> None:
    """Name the next page, if there is one."""
    if next_cursor:
        output.note(f"there is more: the same command with --cursor {next_cursor}")
