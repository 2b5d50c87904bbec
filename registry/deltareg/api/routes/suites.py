"""Suites and the files of their probe sets."""

from fastapi import Request, Response

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.conditions import answer, seen_suite
from deltareg.refs import parse_name
from deltareg.service.verdicts import suites as service
from deltareg.wire import Page, SuiteInfo, SuitePush

router = closed_router("suites")
_FOREVER = "private, max-age=31536000, immutable"


@router.get("/suites")
def list_suites(registry: InRegistry, by: By) -> Page[SuiteInfo]:
    """List all suites as they are now, built-in ones first."""
    return service.list_suites(registry, by)


@router.post("/suites")
def push_suite(request: Request, registry: InRegistry, by: By, body: SuitePush) -> SuiteInfo:
    """Keep a new version of a suite, with the files of its probe sets.

    With `If-Match`, which holds the digest of the suite as last seen, nothing is kept where it is
    another one meanwhile.
    """
    return service.push_suite(registry, by, body, is_seen=seen_suite(request))


@router.get("/suites/{suite}", response_model=SuiteInfo)
def show_suite(request: Request, registry: InRegistry, by: By, suite: str, digest: str | None = None) -> Response:
    """Show a suite with its document, as it is now or as it was under a digest."""
    info = service.show_suite(registry, by, parse_name(suite, "suite"), digest=digest)
    return answer(request, info)


@router.get("/suites/{suite}/versions")
def list_versions(
    registry: InRegistry, by: By, suite: str, cursor: str | None = None, limit: int = 50
) -> Page[SuiteInfo]:
    """List the versions of a suite, newest first."""
    return service.list_versions(registry, by, parse_name(suite, "suite"), cursor=cursor, limit=limit)


@router.get("/suite-files/{digest}")
def read_file(registry: InRegistry, by: By, digest: str) -> Response:
    """Give the file of a probe set, byte for byte."""
    content = service.read_file(registry, by, digest)
    return Response(
        content,
        media_type="application/octet-stream",
        headers={"Cache-Control": _FOREVER, "Content-Disposition": "attachment"},
    )
