"""Pages are found by looking into their folder, and none hides another one."""

import random

from starlette.routing import Match

from deltareg.pages.routing import routes_of
from deltareg.pages.scan import all_pages, sort_routes
from tests.pages.routes import ACTS, READ, STREAMS


def test_every_address_leads_to_its_own_page_in_whatever_order_the_files_are_read(shared_registry):
    routes = [r for page in all_pages() for r in routes_of(shared_registry.registry, page)]
    random.Random(3).shuffle(routes)
    wanted = {("GET", path): to for path, to in (READ | STREAMS).items()}
    wanted |= {("POST", path): to for path, to in ACTS.items()}

    led = {
        (method, path): route_at(sort_routes(routes), method, to.removeprefix("/ui"))
        for (method, path), to in wanted.items()
    }

    assert led == {key: key[1] for key in wanted}


def route_at(routes, method, address):
    """Give the path of the route that answers an address."""
    scope = {"type": "http", "method": method, "path": address.partition("?")[0], "root_path": ""}
    return next(route.path for route in routes if route.matches(scope)[0] is Match.FULL)
