"""The client's use cases that compute, each loaded when it is first called.

They bring NumPy and the codecs, which reading a registry, or pulling what is here already, need not
wait for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltareg.client.bases import named as named
    from deltareg.client.bases import push_base as push_base
    from deltareg.client.bases import which as which
    from deltareg.client.campaign import campaign as campaign
    from deltareg.client.campaign import campaign_start as campaign_start
    from deltareg.client.compare import behavior as behavior
    from deltareg.client.compare import bisect as bisect
    from deltareg.client.compare import bisect_by_hand as bisect_by_hand
    from deltareg.client.compare import diff as diff
    from deltareg.client.compare import line_history as line_history
    from deltareg.client.convert import convert as convert
    from deltareg.client.convert import extract as extract
    from deltareg.client.drafting import draft_suite as draft_suite
    from deltareg.client.fold import materialize as materialize
    from deltareg.client.fold import sync as sync
    from deltareg.client.fold import update as update
    from deltareg.client.folders import golden as golden
    from deltareg.client.mirror import bundle as bundle
    from deltareg.client.mirror import mirror as mirror
    from deltareg.client.mirror import source as source
    from deltareg.client.pull import base_fetching as base_fetching
    from deltareg.client.pull import stored_form as stored_form
    from deltareg.client.pull import version_files as version_files
    from deltareg.client.pull import written_card as written_card
    from deltareg.client.push import golden_of_push as golden_of_push
    from deltareg.client.push import lint as lint
    from deltareg.client.push import merge as merge
    from deltareg.client.push import push as push
    from deltareg.client.push import push_several as push_several
    from deltareg.client.push import reencode as reencode
    from deltareg.client.trust import audit_log as audit_log
    from deltareg.client.trust import last_checkpoint as last_checkpoint
    from deltareg.client.trust import signed_folders as signed_folders
    from deltareg.client.trust import signers as signers
    from deltareg.client.trust import trusted_keys as trusted_keys
    from deltareg.client.trust import verified as verified

_ROOMS = {
    "bases": ("named", "push_base", "which"),
    "campaign": ("campaign", "campaign_start"),
    "compare": ("behavior", "bisect", "bisect_by_hand", "diff", "line_history"),
    "convert": ("convert", "extract"),
    "drafting": ("draft_suite",),
    "fold": ("materialize", "sync", "update"),
    "folders": ("golden",),
    "mirror": ("bundle", "mirror", "source"),
    "pull": ("base_fetching", "stored_form", "version_files", "written_card"),
    "push": ("golden_of_push", "lint", "merge", "push", "push_several", "reencode"),
    "trust": ("audit_log", "last_checkpoint", "signed_folders", "signers", "trusted_keys", "verified"),
}


def __getattr__(name: str) -> object:
    """Load a module on first use."""
    for room, modules in _ROOMS.items():
        if name in modules:
            return import_module(f"deltareg.client.{room}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
