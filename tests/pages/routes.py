"""Every route of the pages with an address of it: what holds for pages is asked of all of them.

A page that is added without a row here fails `test_every_route`.
"""

from starlette.datastructures import State
from starlette.routing import Mount, Route

from deltareg.pages.app import page_routes
from deltareg.pages.guard import ROOT

LINE = "/ui/deltas/team/x"
DEV = f"{LINE}/channels/dev"
READ = {
    "/": "/ui/",
    "/kept": "/ui/kept",
    "/help": "/ui/help",
    "/deltas": "/ui/deltas",
    "/find": "/ui/find?q=zzz",
    "/deltas/{ns}/{name}": LINE,
    "/deltas/{ns}/{name}/diff": f"{LINE}/diff?a=v1&b=v2",
    "/deltas/{ns}/{name}/diff/figures": f"{LINE}/diff/figures?a=v1&b=v2",
    "/deltas/{ns}/{name}/ask": f"{LINE}/ask",
    "/deltas/{ns}/{name}/bisect": f"{LINE}/bisect",
    "/lineage": "/ui/lineage?at=team/x",
    "/deltas/{ns}/{name}/channels/{channel}": DEV,
    "/deltas/{ns}/{name}/channels/{channel}/standing": f"{DEV}/standing",
    "/deltas/{ns}/{name}/channels/{channel}/rollback": f"{DEV}/rollback",
    "/deltas/{ns}/{name}/channels/{channel}/promote": f"{LINE}/channels/staging/promote",
    "/deltas/{ns}/{name}/channels/{channel}/freeze": f"{DEV}/freeze",
    "/deltas/{ns}/{name}/{version}": f"{LINE}/v1",
    "/deltas/{ns}/{name}/{version}/gate": f"{LINE}/v1/gate",
    "/deltas/{ns}/{name}/{version}/verdicts": f"{LINE}/v1/verdicts",
    "/deltas/{ns}/{name}/{version}/files": f"{LINE}/v1/files",
    "/deltas/{ns}/{name}/{version}/card": f"{LINE}/v1/card",
    "/deltas/{ns}/{name}/{version}/lineage": f"{LINE}/v1/lineage",
    "/requests": "/ui/requests?state=all",
    "/requests/{request}": "/ui/requests/1",
    "/runs": "/ui/runs?state=all",
    "/runs/{run}": "/ui/runs/{run}",
    "/workers": "/ui/workers",
    "/bases": "/ui/bases",
    "/bases/{base:path}": "/ui/bases/tinyllama",
    "/fleet": "/ui/fleet",
    "/storage": "/ui/storage?of=team",
    "/access": "/ui/access?namespace=team",
    "/access/who": "/ui/access/who?namespace=team",
    "/deltas/{ns}/{name}/metrics": f"{LINE}/metrics",
    "/deltas/{ns}/{name}/{version}/storage": f"{LINE}/v1/storage",
    "/storage/plan": "/ui/storage/plan",
    "/storage/upkeep": "/ui/storage/upkeep",
    "/verdicts/{verdict}/waive": "/ui/verdicts/{verdict}/waive",
    "/suites": "/ui/suites",
    "/suites/{suite}": "/ui/suites/hostile",
    "/audit/check": "/ui/audit/check",
    "/explain/{code}": "/ui/explain/norm_ratio",
    "/tokens": "/ui/tokens",
    "/audit": "/ui/audit",
    "/sessions": "/ui/sessions",
}
"""What shows something to who is logged in; `{run}` and `{verdict}` stand for those that are there.
"""
FORMS = {
    "/deltas/{ns}/{name}/channels/{channel}/policy": f"{DEV}/policy",
    "/policy": "/ui/policy?namespace=team",
    "/suites/-/new": "/ui/suites/-/new",
    "/suites/{suite}/edit": "/ui/suites/hostile/edit",
}
"""What shows something, and does something as well."""
STREAMS = {"/runs/{run}/stream": "/ui/runs/{run}/stream", "/answers/{run}": "/ui/answers/{run}"}
"""What goes on showing something, or shows it to who asked for it alone."""
READ |= FORMS
ACTS = {
    "/deltas/{ns}/{name}/channels/{channel}/move": f"{DEV}/move",
    "/deltas/{ns}/{name}/channels/{channel}/clear": f"{DEV}/clear",
    "/deltas/{ns}/{name}/channels/{channel}/review": f"{DEV}/review",
    "/deltas/{ns}/{name}/diff/compare": f"{LINE}/diff/compare",
    "/deltas/{ns}/{name}/ask/act": f"{LINE}/ask/act",
    "/requests/{request}/decide": "/ui/requests/1/decide",
    "/deltas/{ns}/{name}/{version}/revert": f"{LINE}/v1/revert",
    "/verdicts/{verdict}/act": "/ui/verdicts/00000000-0000-4000-8000-000000000000/act",
    "/runs/{run}/act": "/ui/runs/00000000-0000-4000-8000-000000000000/act",
    "/sessions/{session}/end": "/ui/sessions/1/end",
    "/sessions/machines/{machine}/end": "/ui/sessions/machines/1/end",
    "/tokens/{token}/revoke": "/ui/tokens/1/revoke",
    "/logout": "/ui/logout",
    **FORMS,
}
"""What does something for who is logged in."""
OPEN = {
    "GET /login",
    "POST /login",
    "GET /device",
    "POST /device",
    "POST /sign-in/{provider}",
    "GET /sign-in/{provider}/callback",
    "POST /sign-in/{provider}/logout",
    "POST /theme",
    "GET /static/{file}",
}
"""What is there for everybody."""


def routes_of(registry):
    """Give all routes of the pages: method and path below their root."""
    mount = next(each for each in page_routes(registry, State()) if isinstance(each, Mount))
    assert mount.path == ROOT
    assert all(isinstance(route, Route) for route in mount.routes)
    return {
        f"{method} {route.path}"
        for route in mount.routes
        if isinstance(route, Route)
        for method in route.methods or {"*"}
        if method != "HEAD"
    }
