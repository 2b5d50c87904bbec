"""Text of others in Markdown, which it can neither end nor mark up."""

from deltareg_cli.terminal.wording import clean

_MARKS = "|`*_<>[]\\"


def prose(text: str) -> str:
    """Keep text of others from being read as Markdown or HTML."""
    return "".join(f"\\{c}" if c in _MARKS else c for c in clean(text))


def code(text: str) -> str:
    """Write text of others as code, without what would end it or a table's cell."""
    return f"`{clean(text).replace('`', '').replace('|', '')}`"
