"""Who may do what: everybody who acts, each with their rights, what gives them, and their live tokens."""

from collections.abc import Iterator, Sequence
from urllib.parse import urlencode

from deltareg.pages.asking import ViewRequest
from deltareg.pages.routing import View
from deltareg.pages.tables import Cell, PageTable
from deltareg.service.access.holders import list_holders
from deltareg.service.access.namespaces import show_namespace
from deltareg.service.authority.grants import SCOPES
from deltareg.wire import HOLDER_HEADS, AccessHolder, Answer, NamespaceInfo, Page, holder_rows

_LISTED = 100


class HoldersPage(Answer):
    """Who may do what in a namespace, or anywhere, and who sees the namespace besides."""

    namespace: str
    right: str
    rights: list[str]
    place: NamespaceInfo | None
    holders: Page[AccessHolder]

    @property
    def query(self) -> str:
        """The filters as the query of an address."""
        words = {"namespace": self.namespace, "right": self.right}
        return urlencode({name: word for name, word in words.items() if word})


def _holders(ask: ViewRequest) -> HoldersPage:
    namespace, right = ask.text("namespace"), ask.text("right")
    holders = list_holders(ask.registry, ask.caller, namespace, right=right, cursor=ask.cursor, limit=ask.most(_LISTED))
    return HoldersPage(
        namespace=namespace or "",
        right=right or "",
        rights=sorted(SCOPES),
        place=None if namespace is None else show_namespace(ask.registry, ask.caller, namespace),
        holders=holders,
    )


def _cells(page: HoldersPage) -> Iterator[Sequence[Cell]]:
    yield from holder_rows(page.holders.items)


_TABLE = PageTable(HOLDER_HEADS, _cells, lambda page: page.holders.next_cursor)
PAGES = (View("/access/who", _holders, "holders.html.jinja", "Access", table=_TABLE),)
