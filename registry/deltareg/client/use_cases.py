"""The client's use cases that compute, each loaded when it is first called.

They bring NumPy and the codecs, which reading a registry, or pulling what is here already, need not
wait for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltareg.client.bases import named, push_base, which
    from deltareg.client.campaign import campaign, campaign_start
    from deltareg.client.compare import behavior, bisect, bisect_by_hand, diff, line_history
    from deltareg.client.convert import convert
    from deltareg.client.drafting import draft_suite
    from deltareg.client.fold import materialize, sync, update
    from deltareg.client.folders import golden
    from deltareg.client.pull import fetching, stored_form, version_files, written_card
    from deltareg.client.push import golden_of_push, lint, merge, push, reencode
    from deltareg.client.trust import audit_log, last_checkpoint, signed_folders, signers, trusted_keys, verified

_ROOMS = {
    "audit_log": "trust",
    "behavior": "compare",
    "bisect": "compare",
    "bisect_by_hand": "compare",
    "campaign": "campaign",
    "campaign_start": "campaign",
    "convert": "convert",
    "diff": "compare",
    "draft_suite": "drafting",
    "fetching": "pull",
    "golden": "folders",
    "golden_of_push": "push",
    "last_checkpoint": "trust",
    "line_history": "compare",
    "lint": "push",
    "materialize": "fold",
    "merge": "push",
    "named": "bases",
    "push": "push",
    "push_base": "bases",
    "reencode": "push",
    "signed_folders": "trust",
    "signers": "trust",
    "stored_form": "pull",
    "sync": "fold",
    "trusted_keys": "trust",
    "update": "fold",
    "verified": "trust",
    "version_files": "pull",
    "which": "bases",
    "written_card": "pull",
}

__all__ = [
    "audit_log",
    "behavior",
    "bisect",
    "bisect_by_hand",
    "campaign",
    "campaign_start",
    "convert",
    "diff",
    "draft_suite",
    "fetching",
    "golden",
    "golden_of_push",
    "last_checkpoint",
    "line_history",
    "lint",
    "materialize",
    "merge",
    "named",
    "push",
    "push_base",
    "reencode",
    "signed_folders",
    "signers",
    "stored_form",
    "sync",
    "trusted_keys",
    "update",
    "verified",
    "version_files",
    "which",
    "written_card",
]


def __getattr__(name: str) -> object:
    """Load a module on first use."""
    if name in _ROOMS:
        return import_module(f"deltareg.client.{_ROOMS[name]}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
