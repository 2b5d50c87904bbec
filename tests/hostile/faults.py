"""Defences that are switched off, one after the other: by name, and by which attacks it is noticed.

Where the database keeps a rule as well, its triggers are taken away with it: what is shown is that
the harness sees through a defence that is gone, not that there are two.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import jwt
import sqlalchemy as sa

from deltareg.api import idempotency
from deltareg.api.overload import door
from deltareg.api.routes import sign_in as sign_in_routes
from deltareg.db import tables as t
from deltareg.db.access import device_requests, leaving, owners, principals
from deltareg.db.access import trusts as trust_queries
from deltareg.db.bases import bases as base_queries
from deltareg.db.storage import blobs as blob_queries
from deltareg.db.storage import offers, proofs, uploads
from deltareg.db.storage.shares import PackHolder, add_shares
from deltareg.gate import judge
from deltareg.gate.outside_facts import OutsideFact
from deltareg.gate.signers import SignerTerms
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap
from deltareg.oidc.provider import Provider
from deltareg.oidc.tokens import LogoutToken
from deltareg.service.access import founding, groups, members, namespaces
from deltareg.service.access.exchange import trusts
from deltareg.service.access.exchange.providers import PROVIDERS
from deltareg.service.authority import caller_grants, decide, sight
from deltareg.service.authority.grants import Right
from deltareg.service.channels import requests, waive
from deltareg.service.lines import blobs, referrers, signed_files, versions
from deltareg.service.push import bound_base, ingest
from deltareg.service.push import uploads as upload_service
from deltareg.service.push.places import marks_of, offer_pieces
from deltareg.service.push.subject import subject_of
from deltareg.service.runs import runs
from deltareg.service.trail import proofs as trail_proofs
from deltareg.service.verdicts import signed
from tests.service import rows


@dataclass(frozen=True)
class Fault:
    """A defence that is off.

    Attributes:
        seed: Switches it off, with pytest's monkeypatch, in a world.
        noticed_by: Words of the attacks that succeed then.
    """

    seed: Callable
    noticed_by: tuple[str, ...]


def nothing(*_, **__):
    """Do nothing, in the place of a check."""


def claims_offered(patch, _world):
    def add_and_offer(conn, version_id, shares, pack_ids):
        add_shares(conn, version_id, shares, pack_ids)
        own = PackHolder(version_id)
        stored = proofs.content(conn, own)
        subject = subject_of(conn, own)
        manifest, storage = Manifest.decode(stored.manifest), StorageMap.decode(stored.storage_map)
        offer_pieces(conn, subject, marks_of(manifest, storage))

    def find_all(conn, space, marks):
        query = sa.select(t.offers, t.offer_marks.c.mark).join(t.offer_marks, t.offer_marks.c.offer_id == t.offers.c.id)
        wanted = [offers.mark_in(space, mark) for mark in marks]
        return [offers.OfferRow(**row._mapping) for row in conn.execute(query.where(t.offer_marks.c.mark.in_(wanted)))]

    patch.setattr(ingest, "add_shares", add_and_offer)
    patch.setattr(offers, "find_offers", find_all)


def statements_unbound(patch, _world):
    patch.setattr(signed, "_compare_bindings", lambda *_, **__: iter(()))


def own_word_counts(patch, _world):
    def all_taken(workers, labels, **_):
        return SignerTerms(workers, labels, is_local_taken=True)

    patch.setattr(judge, "SignerTerms", all_taken)


def openers_approve(patch, world):
    patch.setattr(requests, "_check_other", nothing)
    with world.engine.begin() as conn:
        for table in (t.approvals, t.revisions, t.requests):
            forget_triggers(conn, table)


def forget_triggers(conn, table):
    """Take the triggers of a table away for good."""
    keeper = rows.unguarded(conn, table)
    keeper.__enter__()


def all_read(patch, _world):
    patch.setattr(decide, "_covers", lambda _reach, right, _on: right is Right.READ)


def limits_forgotten(patch, _world):
    patch.setattr(caller_grants, "_limit_reach", lambda reach, _limits: [reach])


def deleted_given(patch, _world):
    patch.setattr(versions, "refuse_deleted", nothing)
    patch.setattr(blobs, "refuse_deleted", nothing)


def uploads_of_anybody(patch, _world):
    def find(conn, _caller, upload_id, *, lock=False):
        return uploads.upload_row(conn, upload_id, lock=lock)

    patch.setattr(upload_service, "_find_own", find)


def hash_is_enough(patch, _world):
    def any_pack(conn, _version_id, digest):
        query = t.packs.select().where(t.packs.c.digest == digest)
        row = conn.execute(query).first()
        return None if row is None else (row.physical_key, row.size_bytes)

    patch.setattr(blob_queries, "pack_of_version", any_pack)


def names_free(patch, _world):
    patch.setattr(founding, "check_free", nothing)
    patch.setattr(namespaces, "check_free", nothing)


def anything_given(patch, _world):
    patch.setattr(members, "check_may_give", nothing)


def answers_by_key_alone(patch, _world):
    kept = idempotency._replay_answer

    def any_kept(registry, caller, key, _digest):
        with registry.engine.connect() as conn:
            own = t.idempotency.c.key == key
            row = conn.execute(t.idempotency.select().where(own)).first()
        return kept(registry, caller, key, "" if row is None else row.request_digest)

    patch.setattr(idempotency, "_replay_answer", any_kept)


def first_base_meant(patch, _world):
    def first(conn, _caller, root, **_):
        return base_queries.base_rows(conn, root=root, limit=1)[0]

    patch.setattr(bound_base, "base_meant", first)


def everything_allowed(patch, _world):
    patch.setattr(decide, "decide", lambda *_: decide.AccessDecision.ALLOWED)


def old_tokens_live(patch, _world):
    patch.setattr(leaving, "end_tokens", lambda *_: 0)
    patch.setattr(owners, "end_people", nothing)


def any_account_trusted(patch, _world):
    def account(conn, _caller, name):
        return principals.principal_id(conn, name)

    patch.setattr(trusts, "_account", account)


def workflows_alike(patch, _world):
    for each in PROVIDERS.values():
        patch.setattr(type(each), "misfit", lambda *_, **__: None)


def logouts_unsigned(patch, _world):
    def read(_self, token):
        claims = jwt.decode(token, options={"verify_signature": False})
        return LogoutToken(subject=claims.get("sub"), sid=claims.get("sid"), jti=claims["jti"], issued_s=claims["iat"])

    patch.setattr(Provider, "read_logout", read)


def codes_are_secrets(patch, _world):
    def by_either(conn, given):
        rows = conn.execute(
            sa.select(t.device_requests.c.id, t.device_requests.c.token_id, t.device_requests.c.code_hash)
        )
        return next((row for row in rows if row.code_hash == given), None) or secret_row(conn, given)

    secret_row = device_requests.device_by_secret
    patch.setattr(device_requests, "device_by_secret", by_either)


def last_owner_may_go(patch, world):
    patch.setattr(members, "keep_somebody", lambda *_: nullcontext())
    patch.setattr(groups, "keep_somebody", lambda *_: nullcontext())
    with world.engine.begin() as conn:
        forget_triggers(conn, t.grants)


def first_address_believed(patch, _world):
    def first(scope, **_):
        return next(value for name, value in scope["headers"] if name == b"x-forwarded-for").partition(b",")[0].decode()

    patch.setattr(door, "client_address", first)


def address_of_the_proxy(patch, _world):
    patch.setattr(sign_in_routes, "client_address", lambda scope, **_: scope["client"][0])


FAULTS = {
    "what is claimed is offered": Fault(claims_offered, ("claims is offered", "left with the")),
    "one's own word counts": Fault(own_word_counts, ("one's own machine counts",)),
    "a statement is about any run": Fault(statements_unbound, ("without its nonce", "told again")),
    "who pushed may waive": Fault(
        lambda patch, _: patch.setattr(waive, "refuse_own", nothing), ("waived by who pushed",)
    ),
    "every check may be waived": Fault(
        lambda patch, _: patch.setattr(waive, "refuse_check", nothing), ("never waived is",)
    ),
    "who opened may approve": Fault(openers_approve, ("who opened a request", "a group's script")),
    "who reads anything reads all": Fault(all_read, ("the vault is read",)),
    "what a token is for is forgotten": Fault(limits_forgotten, ("a token that reads",)),
    "what is deleted is given": Fault(deleted_given, ("a deleted version is pulled",)),
    "an upload is anybody's": Fault(uploads_of_anybody, ("an upload of another",)),
    "a hash is a capability": Fault(hash_is_enough, ("come by their digest",)),
    "who signed is not asked": Fault(
        lambda patch, _: patch.setattr(OutsideFact, "is_by", lambda *_: True), ("counts for a signer",)
    ),
    "weights and settings of others will do": Fault(
        lambda patch, _: patch.setattr(signed_files, "check_about", nothing), ("about another version",)
    ),
    "an old word is taken for a new one": Fault(
        lambda patch, _: patch.setattr(referrers, "_find_same", nothing), ("by what passed before",)
    ),
    "every name is free": Fault(names_free, ("a reserved name",)),
    "anything may be given": Fault(anything_given, ("break the glass is given",)),
    "a key is all that an answer is asked by": Fault(answers_by_key_alone, ("by its key",)),
    "everybody may do everything": Fault(
        everything_allowed,
        (
            "into a group",
            "raises a quota",
            "linked to an admin",
            "one's own gives",
            "file of access",
            "by who holds it",
        ),
    ),
    "tokens outlive their owner": Fault(old_tokens_live, ("old tokens", "handed over")),
    "any account may be trusted": Fault(any_account_trusted, ("account of another",)),
    "workflows are all alike": Fault(workflows_alike, ("of a fork",)),
    "an assertion is good for ever": Fault(
        lambda patch, _: patch.setattr(trust_queries, "use_assertion", lambda *_, **__: True), ("a second token",)
    ),
    "a logout needs no signature": Fault(logouts_unsigned, ("a word about another",)),
    "a code is as good as a secret": Fault(codes_are_secrets, ("fetched by its code",)),
    "the last owner may go": Fault(last_owner_may_go, ("without an owner",)),
    "who cancels is not asked": Fault(
        lambda patch, _: patch.setattr(runs, "_require_own", nothing), ("a colleague's version",)
    ),
    "whose row it is is not asked": Fault(
        lambda patch, _: patch.setattr(trail_proofs, "_check_may_read", nothing), ("trail of another",)
    ),
    "what a client says of its address is believed": Fault(first_address_believed, ("is made up", "by their address")),
    "a proxy is who waits": Fault(address_of_the_proxy, ("machines that wait",)),
    "the first base of a root is meant": Fault(first_base_meant, ("the base of another",)),
}


def clear_caches():
    """Forget what was decided before."""
    for kept in (
        caller_grants.grants_of_token,
        caller_grants.read_holdings,
        caller_grants.grants_within,
        caller_grants.grants_by_sight,
        sight.sight_of,
        decide.decide_cached,
    ):
        kept.cache_clear()
