"""Storage: where the bytes are, and what each means of saving has saved."""

from deltareg.pages.asking import Ask
from deltareg.pages.routing import View
from deltareg.refs import LineRef, parse_name
from deltareg.service.upkeep.stats import show_storage
from deltareg.wire import Answer, StorageReport

_LISTED = 100


class StoragePage(Answer):
    """What is stored of everything, of a namespace or of a line; `largest` is that of the parts."""

    asked: str
    report: StorageReport
    largest: int


def _storage(ask: Ask) -> StoragePage:
    text = ask.text("of") or ""
    of: str | LineRef | None = None
    if "/" in text:
        of = LineRef.parse(text)
    elif text:
        of = parse_name(text, "namespace")
    found = show_storage(ask.registry, ask.caller, of, limit=_LISTED)
    largest = max((part.pack_bytes for part in found.parts), default=0)
    return StoragePage(asked=text, report=found, largest=largest)


PAGES = (View("/storage", _storage, "storage.html.jinja", "Storage"),)
