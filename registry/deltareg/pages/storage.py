"""Storage: where the bytes are, and how many each way of saving has saved."""

from collections.abc import Iterator, Sequence

from deltareg.errors import NotFound
from deltareg.pages.asking import ViewRequest
from deltareg.pages.routing import View
from deltareg.pages.tables import Cell, PageTable
from deltareg.refs import LineRef, Ref, parse_name
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.operations.operations import list_operations
from deltareg.service.quotas.quotas import show_quota
from deltareg.service.upkeep.outlook import Outlook, show_outlook
from deltareg.service.upkeep.stats import show_storage
from deltareg.shared_state import shared_state_of
from deltareg.wire import Answer, OperationInfo, QuotaInfo, StorageReport

_LISTED = 100


class StoragePage(Answer):
    """What is stored in total, or of a namespace, a line or a version.

    `largest` is the size of the largest part, in bytes of its packs. `quota` is that of a namespace.
    """

    asked: str
    report: StorageReport
    largest: int
    may_plan: bool
    quota: QuotaInfo | None = None


def _storage(ask: ViewRequest) -> StoragePage:
    text = ask.text("of") or ""
    of: str | LineRef | Ref | None = None
    if ":" in text:
        of = ask.caller.current_ref(Ref.parse(text))
    elif "/" in text:
        of = ask.caller.current_line(LineRef.parse(text))
    elif text:
        of = parse_name(text, "namespace")
    report = show_storage(ask.registry, ask.caller, of, limit=ask.most(_LISTED))
    largest = max((part.pack_bytes for part in report.parts), default=0)
    return StoragePage(
        asked=text,
        report=report,
        largest=largest,
        may_plan=ask.caller.may(Right.ADMIN, on=EVERYTHING),
        quota=_quota(ask, of) if isinstance(of, str) else None,
    )


def _quota(ask: ViewRequest, namespace: str) -> QuotaInfo | None:
    """Return the quota of a namespace; None for one that nobody made yet, of which only bytes are there."""
    try:
        return show_quota(ask.registry, ask.caller, namespace)
    except NotFound:
        return None


def _plan(ask: ViewRequest) -> Outlook:
    state = shared_state_of(ask.request)
    return show_outlook(
        ask.registry,
        ask.caller,
        grace_s=state.upload_grace_s,
        deleted_s=state.keep_deleted_s,
        keep_logs_s=state.keep_logs_s,
        keep_forms_s=state.keep_forms_s,
        limit=ask.most(_LISTED),
    )


def _plan_cells(page: Outlook) -> Iterator[Sequence[Cell]]:
    for row in page.waiting:
        yield row.ref, row.form, row.stored_bytes, row.since, row.goes_at, row.is_due, row.why


def _cells(page: StoragePage) -> Iterator[Sequence[Cell]]:
    for row in [*page.report.parts, *page.report.kinds]:
        yield (
            row.of,
            row.name,
            row.versions,
            row.bases,
            row.logical_bytes,
            row.pack_bytes,
            row.manifest_bytes,
            row.map_bytes,
            row.saved_by_references,
            row.saved_by_dedup,
            row.saved_by_entropy,
            row.garbage_bytes,
            row.upload_bytes,
        )


_TABLE = PageTable(
    (
        "of",
        "name",
        "versions",
        "bases",
        "file_bytes",
        "pack_bytes",
        "manifest_bytes",
        "map_bytes",
        "saved_by_references",
        "saved_by_dedup",
        "saved_by_entropy",
        "garbage_bytes",
        "upload_bytes",
    ),
    _cells,
)
_PLAN = PageTable(("ref", "form", "stored_bytes", "since", "goes_at", "is_due", "why"), _plan_cells)


class UpkeepPage(Answer):
    """What the registry does by itself: each operation, and what came of it."""

    operations: list[OperationInfo]


def _upkeep(ask: ViewRequest) -> UpkeepPage:
    return UpkeepPage(operations=list_operations(ask.registry, ask.caller))


PAGES = (
    View("/storage", _storage, "storage.html.jinja", "Storage", table=_TABLE),
    View("/storage/upkeep", _upkeep, "upkeep.html.jinja", "Storage"),
    View("/storage/plan", _plan, "plan.html.jinja", "Storage", table=_PLAN),
)
