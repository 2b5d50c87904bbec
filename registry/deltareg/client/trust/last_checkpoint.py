"""The last checkpoint of a server's log that this machine saw, and what may follow it.

A newer checkpoint has to extend the log of the older one, and the server has to prove that. A
checkpoint that is older, of another log, or of a rewritten log is refused until a user accepts it:
a restored backup looks the same. A key that is new is trusted where a trusted one vouches for it in
this very log, through any number of rotations. The last checkpoint is a file for each server, beside
the pinned keys.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress

from deltareg.client.context import Context
from deltareg.client.trust.kept_verification import forget_verified, memory_path
from deltareg.client.trust.trusted_keys import TrustedKeys, pin_followed, told_keys, trusted_keys
from deltareg.documents.json_values import is_object, parse_json
from deltareg.errors import BadSignature, Forbidden, IntegrityFailure, LogRewritten, NotFound
from deltareg.host.shared_files import change_file
from deltareg.signing.keys import PublicKey
from deltareg.trail.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from deltareg.trail.merkle import check_consistency
from deltareg.trail.rotations import RotationProof, ServerKeyChain, follow_rotations
from deltareg.wire import CheckpointInfo, ConsistencyProof, ProvenRow

_ASK = "ask who runs the registry, by another way than the registry"
_ACCEPT = "ask who runs the registry; if a backup was restored, or a new registry is there: deltareg audit accept"


def recall_checkpoint(server: str) -> str | None:
    """Return the last checkpoint seen of a server, as it was signed; None if there is none."""
    try:
        return _note_in(memory_path(server).read_bytes())
    except OSError:
        return None


def _note_in(raw: bytes) -> str | None:
    try:
        value: object = parse_json(raw)
    except ValueError:
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
    answer, checkpoint = open_answer(context, answer, takes_new=is_accepted)
    if before is not None:
        hold_to(context, said_in(before), checkpoint.checkpoint)
    with suppress(OSError):  # where nothing can be kept, each time is the first
        _remember(server, checkpoint, is_accepted=is_accepted)
    return _as_signed(answer)


def _as_signed(told: CheckpointInfo) -> CheckpointInfo:
    checkpoint = said_in(told.note)
    update = {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}
    return told.model_copy(update=update)


def open_answer(
    context: Context, answer: CheckpointInfo, *, takes_new: bool = False
) -> tuple[CheckpointInfo, SignedCheckpoint]:
    """Return a checkpoint that a trusted key signed, or one that trusted keys vouch for in its log.

    In the second case the answer is the newest one, and the keys are trusted from now on.

    Raises:
        BadSignature: No trusted key signed it, and none vouches for the one that did.
    """
    trusted, _ = trusted_keys(context, takes_new=takes_new)
    try:
        return answer, open_checkpoint(answer.note, server_keys(trusted))
    except BadSignature:
        newest = context.api.get("/audit/checkpoint", CheckpointInfo, rotations=True)
    chain = follow(newest, trusted)
    try:
        signed = open_checkpoint(newest.note, chain.keys)
    except BadSignature as error:
        raise _unknown_signer(context, newest.note) from error
    before = recall_checkpoint(context.config.server)
    if before is not None and not takes_new:
        hold_to(context, said_in(before), signed.checkpoint)
    pin_followed(context, chain.found)
    return newest, signed


def follow(answer: CheckpointInfo, trusted: TrustedKeys) -> ServerKeyChain:
    """Follow the rotations that a checkpoint comes with, from the keys that are trusted.

    Raises:
        BadSignature: The answer holds no checkpoint.
    """
    chain = ServerKeyChain(server_keys(trusted), revoked=server_keys(trusted, revoked=True))
    follow_rotations(chain, read_rotations(answer.rotations), Checkpoint.said_in(answer.note))
    return chain


def read_rotations(rows: Iterable[ProvenRow]) -> Iterator[RotationProof]:
    """Read rows with their proofs; those whose hashes are none are left out."""
    for row in rows:
        with suppress(ValueError):
            hashes = tuple(bytes.fromhex(each) for each in row.hashes)
            yield RotationProof(row.position, row.leaf, row.statement, hashes)


def _unknown_signer(context: Context, note: str) -> BadSignature:
    server, told = context.config.server, told_keys(context)
    try:
        key = open_checkpoint(note, server_keys(told)).key.keyid[:16]
    except BadSignature:
        return BadSignature(f"nobody whom {server} knows signed the checkpoint of its log", fix=_ASK)
    return BadSignature(
        f"the log of {server} is signed with the key {key}, and no key that is trusted here vouches for it",
        fix=f"ask who runs the registry, by another way, whether {key} is theirs and what came before is lost; then:"
        " deltareg worker keys --pin",
    )


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


def _remember(server: str, seen: SignedCheckpoint, *, is_accepted: bool) -> None:
    """Keep a checkpoint, unless another process saw a newer one of the same log meanwhile."""

    def change(raw: bytes | None) -> bytes | None:
        kept = None if raw is None or is_accepted else _note_in(raw)
        if kept is not None:
            other = said_in(kept)
            if other.origin == seen.checkpoint.origin and other.size > seen.checkpoint.size:
                return None
        return json.dumps({"server": server, "note": seen.note}).encode()

    change_file(memory_path(server), change)
