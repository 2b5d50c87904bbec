"""What a registry has: one kind of thing a file, with all that can be done with it.

Each is loaded when it is first asked for: who pushes need not wait for webhooks.
"""

from typing import TYPE_CHECKING

from deltareg.on_demand import load_name

if TYPE_CHECKING:
    from deltareg.client.resources.access import Members, Namespaces
    from deltareg.client.resources.audit import Audit
    from deltareg.client.resources.bases import Bases
    from deltareg.client.resources.cached import Cached
    from deltareg.client.resources.channels import Channels
    from deltareg.client.resources.events import Events
    from deltareg.client.resources.fleet import Fleet
    from deltareg.client.resources.floors import Floors
    from deltareg.client.resources.folders import Folders
    from deltareg.client.resources.keys import Keys
    from deltareg.client.resources.lines import Lines
    from deltareg.client.resources.requests import Requests
    from deltareg.client.resources.runs import Runs
    from deltareg.client.resources.signatures import Signatures
    from deltareg.client.resources.storage import Storage
    from deltareg.client.resources.suites import Suites
    from deltareg.client.resources.tokens import Tokens
    from deltareg.client.resources.verdicts import Verdicts
    from deltareg.client.resources.versions import Versions
    from deltareg.client.resources.webhooks import Webhooks

_HOMES = {
    "access": ("Members", "Namespaces"),
    "audit": ("Audit",),
    "bases": ("Bases",),
    "cached": ("Cached",),
    "channels": ("Channels",),
    "events": ("Events",),
    "fleet": ("Fleet",),
    "floors": ("Floors",),
    "folders": ("Folders",),
    "keys": ("Keys",),
    "lines": ("Lines",),
    "requests": ("Requests",),
    "runs": ("Runs",),
    "signatures": ("Signatures",),
    "storage": ("Storage",),
    "suites": ("Suites",),
    "tokens": ("Tokens",),
    "verdicts": ("Verdicts",),
    "versions": ("Versions",),
    "webhooks": ("Webhooks",),
}

__all__ = [
    "Audit",
    "Bases",
    "Cached",
    "Channels",
    "Events",
    "Fleet",
    "Floors",
    "Folders",
    "Keys",
    "Lines",
    "Members",
    "Namespaces",
    "Requests",
    "Runs",
    "Signatures",
    "Storage",
    "Suites",
    "Tokens",
    "Verdicts",
    "Versions",
    "Webhooks",
]


def __getattr__(name: str) -> object:
    """Load a name's module on first use."""
    return load_name(__name__, _HOMES, name)
