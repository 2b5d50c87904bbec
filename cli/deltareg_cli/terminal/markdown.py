"""Makes other people's text safe in Markdown: it can neither end nor mark up what surrounds it."""

from deltareg_cli.terminal.wording import clean

_MARKS = "|`*_<>[]\\"


def prose(text: str) -> str:
    """Escape text, so that it is not read as Markdown or HTML."""
    return "".join(f"\\{c}" if c in _MARKS else c for c in clean(text))


def code(text: str) -> str:
    """Format text as code, without characters that would end the code or a table's cell."""
    return f"`{clean(text).replace('`', '').replace('|', '')}`"
