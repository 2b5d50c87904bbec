"""The ASGI app: routers behind a token check, problems for errors, limits around everything."""

from collections.abc import Sequence
from functools import partial

from fastapi import FastAPI

from deltareg import __version__
from deltareg.api import problems
from deltareg.api.app_state import AppState
from deltareg.api.health_checks import HealthChecks
from deltareg.api.hub import elsewhere as hub_elsewhere
from deltareg.api.hub import repositories as hub_repositories
from deltareg.api.hub import routes as hub_routes
from deltareg.api.hub import writing as hub_writing
from deltareg.api.hub import xet as hub_xet
from deltareg.api.hub.hub_state import HubState
from deltareg.api.middleware import RequestContext
from deltareg.api.observability.observer import RequestObserver
from deltareg.api.observability.options import NOTHING_KEPT, Observability
from deltareg.api.overload.door import Door
from deltareg.api.room import DiskRoom
from deltareg.api.routes import (
    access,
    bases,
    blobs,
    bundles,
    channels,
    deltas,
    events,
    evidence,
    exchange,
    findings,
    fleet,
    floors,
    groups,
    health,
    members,
    operations,
    people,
    queue,
    quotas,
    referrers,
    requests,
    retention,
    runs,
    search,
    sign_in,
    stats,
    suites,
    trail,
    upkeep,
    uploads,
    webhooks,
)
from deltareg.api.streams import newest_event
from deltareg.pages.app import page_routes
from deltareg.service.access.tokens import is_live, live_hashes
from deltareg.service.hub.main_version import Main
from deltareg.service.push.revert import KEEP_FORMS_S
from deltareg.service.registry import Registry
from deltareg.service.runs.log_retention import DEFAULT_KEEP_S
from deltareg.wire import API

DOCUMENT_BYTES = 48 << 20
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_OF_HUB = (
    hub_xet.areas,
    hub_xet.router,
    hub_writing.tickets,
    hub_writing.router,
    hub_repositories.router,
    hub_elsewhere.router,
    hub_routes.router,
    hub_elsewhere.others,
)


def create_app(
    registry: Registry,
    *,
    store_kind: str = "memory",
    lease_s: float = 60.0,
    upload_grace_s: float = 86_400.0,
    keep_deleted_s: float = 7 * 86_400.0,
    keep_logs_s: float | None = DEFAULT_KEEP_S,
    keep_forms_s: float = KEEP_FORMS_S,
    allowed_hosts: Sequence[str] = LOOPBACK_HOSTS,
    room: DiskRoom | None = None,
    anonymous_reading: bool = False,
    hub_main: Main | None = None,
    hub_address: str | None = None,
    document_bytes: int = DOCUMENT_BYTES,
    requests_per_minute: int = 0,
    bad_tokens_per_minute: int = 0,
    proxies: int = 0,
    observability: Observability = NOTHING_KEPT,
) -> FastAPI:
    """Create the app of one server process.

    Args:
        registry: The database and the store.
        store_kind: The kind of the store, for `/meta`.
        lease_s: How long a lease lasts, seconds.
        upload_grace_s: How long an idle upload is kept by default, seconds.
        keep_deleted_s: How long a deleted version can be restored by default, seconds.
        keep_logs_s: How long the log of a run is kept after its end, seconds; None for ever.
        keep_forms_s: How long a stored form is kept after another replaced it, seconds.
        allowed_hosts: The only accepted `Host` headers; any other may come from DNS rebinding.
        anonymous_reading: Whether anybody may read public content without a token.
        hub_main: What `main` means for clients of the Hugging Face Hub that only read; None
            disables the hub interface.
        hub_address: The address at which the server reaches itself, to push what hub clients
            committed; None for the address of the request, over plain http; empty if there is none.
        room: The server's own disks, which need room for it to be ready; None if it has none.
        document_bytes: The longest manifest or other document that is taken.
        requests_per_minute: How many requests one principal may send a minute; 0 for any number.
        bad_tokens_per_minute: How many bad tokens and failed log-ins one address may send; 0 for any number.
        proxies: How many proxies are in front, each of which appends to `X-Forwarded-For`.
        observability: Where slow requests are recorded, and how requests are traced.
    """
    modules = (
        health,
        access,
        exchange,
        members,
        groups,
        bases,
        deltas,
        channels,
        requests,
        suites,
        uploads,
        blobs,
        bundles,
        runs,
        queue,
        fleet,
        stats,
        operations,
        upkeep,
        retention,
        people,
        referrers,
        evidence,
        trail,
        floors,
        quotas,
        events,
        webhooks,
        search,
        findings,
        sign_in,
    )
    app = FastAPI(
        routes=[
            *deltas.quick.routes,
            *channels.quick.routes,
            *sign_in.open_router.routes,
            *(route for module in modules for route in module.router.routes),
        ],
        title="Delta Registry",
        version=__version__,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        summary="Artifact registry and versioning service for fine-tuning deltas.",
    )
    hold = partial(HubState, hub_main=hub_main, hub_address=hub_address) if hub_main else AppState
    app.router.routes.extend([*exchange.open_router.routes, *queue.open_router.routes])
    state = hold(
        registry=registry,
        store_kind=store_kind,
        lease_s=lease_s,
        upload_grace_s=upload_grace_s,
        keep_deleted_s=keep_deleted_s,
        keep_logs_s=keep_logs_s,
        keep_forms_s=keep_forms_s,
        anonymous_reading=anonymous_reading,
        newest_event=newest_event(registry),
        health=HealthChecks.of(registry, room, observability.disks),
        document_bytes=document_bytes,
        proxies=proxies,
    )
    app.state.server = state
    app.router.routes.extend(page_routes(registry, app.state))
    for router in _OF_HUB if hub_main else (hub_elsewhere.off,):
        app.router.routes.extend(router.routes)
    problems.install(app)
    app.add_middleware(
        RequestContext,
        observer=RequestObserver(state.health.metrics, observability.slow, begin=observability.begin),
        allowed_hosts=tuple(allowed_hosts),
        is_live=partial(is_live, registry),
        door=Door(
            partial(live_hashes, registry),
            neighbours=state.neighbours,
            requests_per_minute=requests_per_minute,
            bad_tokens_per_minute=bad_tokens_per_minute,
            proxies=proxies,
        ),
        document_bytes=document_bytes,
    )
    return app
