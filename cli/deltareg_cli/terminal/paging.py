"""Names the next page of a list."""

from deltareg_cli.terminal.output import Output


def note_more(output: Output, next_cursor: str | None) -> None:
    """Print the command of the next page, if there is one."""
    if next_cursor:
        output.note(f"there is more: the same command with --cursor {next_cursor}")
