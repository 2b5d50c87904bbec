"""Search: versions by words, labels, base, kind and metrics."""

from typing import Annotated

from fastapi import Query

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.routes.deltas import Labels
from deltareg.service.lines import search as service
from deltareg.wire import Page, SearchHit

router = closed_router("search")
Words = Annotated[str, Query(max_length=400)]


@router.get("/search")
def search(
    registry: InRegistry,
    by: By,
    labels: Labels,
    text: Words = "",
    base: Words = "",
    kind: Words = "",
    metric: Words = "",
    within: Words = "",
    *,
    newest: bool = False,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[SearchHit]:
    """Find versions, newest first; all that is asked has to be so.

    `text` is words, of which one that ends with `*` is a beginning; `metric` is `accuracy>=0.9`,
    several are parted by commas; `within` is a namespace or a line; `label.NAME=VALUE` and
    `has_label` are as in lists. With `newest`, only the newest version of each line counts.
    """
    query = service.SearchQuery(
        text=text,
        labels=labels,
        base=base,
        kind=kind,
        within=within,
        is_newest=newest,
        metrics=metric.split(",") if metric else (),
    )
    return service.search_versions(registry, by, query, cursor=cursor, limit=limit)
