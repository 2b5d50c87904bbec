"""The words that columns hold; a constraint of its table lets no other in."""

from typing import Literal

TokenKind = Literal["pat", "ci", "wrk"]
Scope = Literal["read", "push", "promote", "approve", "verify", "serve", "break-glass", "admin"]
BaseRelation = Literal["same_parameters", "cast_of", "resaved_as", "finetuned_from"]
RevisionKind = Literal["promote", "rollback", "freeze", "unfreeze"]
EventKind = Literal["push", "verdict", "promote", "rollback", "freeze", "unfreeze", "delete", "revoke", "unrevoke"]
UploadState = Literal["open", "complete", "aborted", "expired"]
RequestState = Literal["open", "promoted", "rejected", "withdrawn", "stale"]
RunState = Literal["queued", "running", "done", "dead", "cancelled"]
Role = Literal[
    "owner", "maintainer", "promoter", "approver", "pusher", "reader", "server", "verifier", "break-glass", "admin"
]
Visibility = Literal["private", "internal", "public"]
