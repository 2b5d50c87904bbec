"""Versions with what a pull of them takes, in one answer."""

from typing import Annotated

from fastapi import Query, Response

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.refs import Ref
from deltareg.service.lines.bundles import bundle_versions
from deltareg.service.resolve import Bare
from deltareg.wire.bundles import BUNDLE_TYPE, BUNDLED_MOST

router = closed_router("deltas")


@router.get("/bundle")
def bundle(
    registry: InRegistry,
    by: By,
    ref: Annotated[list[str], Query(min_length=1, max_length=BUNDLED_MOST)],
    bare: Bare = "newest",
    have: Annotated[list[str], Query(max_length=2 * BUNDLED_MOST)] = [],  # noqa: B006  # FastAPI copies it
) -> Response:
    """Give versions with their manifests, storage maps and packs, where these are small.

    The first line is JSON, a `BundleHead`; the bytes that its parts name follow in their order. What
    is left out is asked for by itself, as is everything of a version whose digest `have` names.
    """
    refs = [Ref.parse(text) for text in ref]
    raw = bundle_versions(registry, by, refs, bare=bare, have=frozenset(have))
    return Response(raw, media_type=BUNDLE_TYPE, headers={"Cache-Control": "no-store"})
