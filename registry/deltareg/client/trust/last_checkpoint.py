"""The last checkpoint of a server's log that this machine saw, and what may follow it.

A newer checkpoint has to extend the log of the older one, and the server has to prove that. A
checkpoint that is older, of another log, or of a rewritten log is refused until a user accepts it:
a restored backup looks the same. The last checkpoint is a file for each server, beside the pinned
keys.
"""

import json
import os
from contextlib import suppress

from deltareg.client.context import Context
from deltareg.client.trust.kept_verification import forget_verified, memory_path
from deltareg.client.trust.trusted_keys import TrustedKeys, told_keys, trusted_keys
from deltareg.documents.json_values import is_object
from deltareg.errors import BadSignature, Forbidden, IntegrityFailure, LogRewritten, NotFound
from deltareg.signing.keys import PublicKey
from deltareg.trail.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from deltareg.trail.merkle import check_consistency
from deltareg.wire import CheckpointInfo, ConsistencyProof

_ACCEPT = "ask who runs the registry; if a backup was restored, or a new registry is there: deltareg audit accept"


def recall_checkpoint(server: str) -> str | None:
    """Return the last checkpoint seen of a server, as it was signed; None if there is none."""
    try:
        value: object = json.loads(memory_path(server).read_bytes())
    except (OSError, ValueError):
        return None
    note = value.get("note") if is_object(value) else None
    return note if isinstance(note, str) else None


def server_keys(trusted: TrustedKeys, *, revoked: bool = False) -> list[PublicKey]:
    """Return the servers' trusted keys, or with `revoked` the revoked ones among them."""
    return [
        PublicKey.parse(key.key)
        for key in trusted.keys.values()
        if key.role == "server" and (key.state == "revoked") is revoked
    ]


def see_checkpoint(context: Context, *, is_accepted: bool = False) -> CheckpointInfo | None:
    """Check the server's newest checkpoint against the last one seen, and remember it.

    The result is exactly what was checked: all of it but `waiting` comes from the signed note. It
    is None if the server has no checkpoint and none was ever seen: it is an older release, has no
    key, or has just started.

    Args:
        context: The server.
        is_accepted: Whether to accept whatever the server has from now on.

    Raises:
        LogRewritten: The checkpoint is older, of another log, or does not extend the one seen.
        BadSignature: No trusted server key signed it.
    """
    server = context.config.server
    if is_accepted:
        forget_verified(server)
    before = None if is_accepted else recall_checkpoint(server)  # first: others may see newer ones
    try:
        answer = context.api.get("/audit/checkpoint", CheckpointInfo)
    except (NotFound, Forbidden) as error:
        if is_accepted and isinstance(error, NotFound):
            memory_path(server).unlink(missing_ok=True)
        if before is None or isinstance(error, Forbidden):
            return None
        raise LogRewritten(
            f"the log of {server} is gone, of which this machine saw {said_in(before).size} rows", fix=_ACCEPT
        ) from error
    if answer.note == before:
        return _as_signed(answer)
    checkpoint = _open_note(context, answer.note, takes_new=is_accepted)
    if before is not None:
        hold_to(context, said_in(before), checkpoint.checkpoint)
    with suppress(OSError):  # where nothing can be kept, each time is the first
        _remember(server, checkpoint)
    return _as_signed(answer)


def _as_signed(told: CheckpointInfo) -> CheckpointInfo:
    checkpoint = said_in(told.note)
    update = {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}
    return told.model_copy(update=update)


def _open_note(context: Context, note: str, *, takes_new: bool) -> SignedCheckpoint:
    trusted, _ = trusted_keys(context, takes_new=takes_new)
    try:
        return open_checkpoint(note, server_keys(trusted))
    except BadSignature:
        # A key that is new since signs here. It is pinned by nothing but what is said to pin; that
        # the log goes on from what was seen is shown all the same, whoever has it.
        return open_checkpoint(note, server_keys(trusted.with_new(told_keys(context))))


def hold_to(context: Context, old: Checkpoint, new: Checkpoint) -> None:
    """Have the server prove that a checkpoint extends an earlier one.

    Raises:
        LogRewritten: It does not.
    """
    server = context.config.server
    if new.origin != old.origin:
        raise LogRewritten(
            f"{server} has another log than this machine saw there: {new.origin}, it was {old.origin}", fix=_ACCEPT
        )
    if new.size < old.size:
        raise LogRewritten(
            f"the log of {server} is older than what this machine saw: {new.size} rows, it had {old.size}", fix=_ACCEPT
        )
    proof = ConsistencyProof(old=old.size, new=new.size, hashes=[])
    if new.size != old.size:
        proof = context.api.get("/audit/consistency", ConsistencyProof, old=old.size, new=new.size)
    try:
        hashes = [bytes.fromhex(each) for each in proof.hashes]
        check_consistency(old.size, new.size, hashes, old_root=old.root, new_root=new.root)
    except (IntegrityFailure, ValueError) as error:
        raise LogRewritten(
            f"the log of {server} was rewritten: its first {old.size} rows are not those that this machine saw signed",
            fix=_ACCEPT,
        ) from error


def said_in(note: str) -> Checkpoint:
    """Read a checkpoint that was verified before it was kept."""
    try:
        return Checkpoint.said_in(note)
    except BadSignature as error:
        raise BadSignature("what this machine kept of the log was changed", fix="deltareg audit accept") from error


def _remember(server: str, seen: SignedCheckpoint) -> None:
    path = memory_path(server)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({"server": server, "note": seen.note}), encoding="utf-8")
    draft.replace(path)
