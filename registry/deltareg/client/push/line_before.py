"""The newest versions of a line as a push finds it, listed once for all that asks what came before."""

from dataclasses import dataclass

from deltareg.client.asking.lines import line_path
from deltareg.client.context import Context
from deltareg.errors import NotFound
from deltareg.refs import LineRef
from deltareg.wire import Page, VersionInfo

_LOOKED_AT = 50


@dataclass(slots=True)
class LineBefore:
    """A line before a push; it is asked for on first use.

    Attributes:
        context: The client's surroundings.
        line: The line.
    """

    context: Context
    line: LineRef
    _page: Page[VersionInfo] | None = None

    @property
    def versions(self) -> Page[VersionInfo]:
        """Its newest versions; none where it begins with this push."""
        if self._page is None:
            try:
                path = f"{line_path(self.line)}/versions"
                self._page = self.context.api.get(path, Page[VersionInfo], limit=_LOOKED_AT)
            except NotFound:
                self._page = Page[VersionInfo](items=[])
        return self._page

    def forget(self) -> None:
        """Have it asked for again: it has changed, or was refused."""
        self._page = None
