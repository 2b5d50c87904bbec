"""Pods that become workers by what their cluster says of them: enrolled with their own key, with a token for an hour.

A pod signs the request with its key, so that nobody enrols a key that they do not hold. The cluster's
assertion is of the first key that it came with: a container that starts again in its pod uses it
again, and who read it elsewhere cannot.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.access import principals as principal_queries
from deltareg.db.access import worker_trusts as queries
from deltareg.db.access.worker_trusts import WorkerTrustRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S, read_clock
from deltareg.db.verdicts import signing as key_queries
from deltareg.documents.json_values import is_object
from deltareg.errors import AssertionRefused, InvalidInput
from deltareg.refs import parse_name
from deltareg.service.access.exchange.assertions import SKEW_S, Assertion, read_assertion, verify_assertion
from deltareg.service.access.exchange.worker_trusts import prefix_of
from deltareg.service.access.giving import give_scopes
from deltareg.service.access.tokens import hash_secret, mint_secret
from deltareg.service.authority.grants import SCOPES, WORKER, grants_of
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.signing.keys import PublicKey, parse_host
from deltareg.wire import PodEnrol, PodEnrolled, Scope

LASTS_S = 3600
"""How long the token lasts, seconds; a worker asks for another one in time."""
_SCOPES: tuple[Scope, ...] = ("read", "verify")
_SHOW = "an admin: deltareg worker trust ls"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as its cluster names it: its account as `NAMESPACE/NAME`, its name, and its node, if it says so."""

    account: str
    name: str
    node: str


def enrol_pod(registry: Registry, request: PodEnrol, *, request_id: str) -> PodEnrolled:
    """Enrol a pod's key, and give it a token that reads and verifies.

    Raises:
        AssertionRefused: The assertion or the signature does not hold, or nobody trusts that account.
        InvalidInput: The key or the name of the pod is malformed.
        Unavailable: The issuer does not give its keys.
    """
    key = PublicKey.parse(request.key)
    if not key.verifies(_bytes_of(request.signature), request.signed_bytes):
        raise AssertionRefused("the request is not signed with its key")
    unverified = read_assertion(request.assertion)
    with read(registry.engine) as conn:
        now_s = read_clock(conn) // US_PER_S
        rows = queries.worker_trust_rows(conn, issuer=unverified.issuer)
    if not rows or unverified.issuer not in registry.issuers.listed:  # no keys are asked for in vain
        raise AssertionRefused(f"no workers of the issuer {unverified.issuer[:200]!r} are trusted here", fix=_SHOW)
    issuer_key = registry.issuers.key(unverified.issuer, unverified.keyid)
    assertion = verify_assertion(unverified, issuer_key, now_s=now_s, may_list_audience=True)
    pod = read_pod(assertion.claims)
    fitting = [row.id for row in rows if (row.audience, row.account) == (assertion.audience, pod.account)]
    if not fitting:
        raise AssertionRefused(f"pods of {pod.account} are no workers here for {assertion.audience[:200]}", fix=_SHOW)
    return with_retry(
        registry.engine, lambda conn: _enrol(conn, fitting[0], assertion, pod, key, request_id=request_id)
    )


def read_pod(claims: Mapping[str, object]) -> Pod:
    """Read which pod an assertion is of: what Kubernetes says in tokens that are bound to one.

    Raises:
        AssertionRefused: It is of none.
    """
    cluster = claims.get("kubernetes.io")
    found = cluster if is_object(cluster) else {}
    parts = {name: value for name in ("pod", "node", "serviceaccount") if is_object(value := found.get(name))}
    names = {name: part.get("name") for name, part in parts.items()}
    namespace, account, pod = found.get("namespace"), names.get("serviceaccount"), names.get("pod")
    node = names.get("node", "")
    if not (isinstance(namespace, str) and isinstance(account, str) and isinstance(pod, str) and isinstance(node, str)):
        raise AssertionRefused("the assertion is of no pod", fix="mount a projected serviceAccountToken")
    if claims.get("sub") != f"system:serviceaccount:{namespace}:{account}":
        raise AssertionRefused("the assertion names two accounts")
    return Pod(f"{namespace}/{account}", pod, node)


def _enrol(
    conn: sa.Connection, trust_id: int, assertion: Assertion, pod: Pod, key: PublicKey, *, request_id: str
) -> PodEnrolled:
    """Enrol the key and make the token, in one transaction."""
    trust = queries.worker_trust_row(conn, trust_id, lock=True)
    if trust is None or trust.maker_disabled_at is not None:
        raise AssertionRefused("the trust was ended, or who made it was disabled", fix=_SHOW)
    expires_at = (assertion.expires_at + SKEW_S) * US_PER_S
    first = queries.key_of_assertion(conn, assertion.digest, trust_id=trust.id, keyid=key.keyid, expires_at=expires_at)
    if first != key.keyid:
        raise AssertionRefused("the assertion came with another key before", reason="invalid_grant")
    name = parse_name(f"{prefix_of(trust.id)}{pod.name}", "worker")
    owner = _find_worker(conn, name)
    itself = Caller(name, owner, None, grants_of(SCOPES), request_id=request_id)
    _set_key(conn, itself, trust, key, host=parse_host(pod.node) if pod.node else "")
    give_scopes(conn, itself, owner, _SCOPES, everywhere=True)
    secret = mint_secret("wrk")
    token_id = principal_queries.add_token(
        conn,
        token_hash=hash_secret(secret),
        display=secret[:12],
        principal_id=owner,
        kind="wrk",
        scopes=_SCOPES,
        namespaces=None,
        note=f"by worker trust {trust.id}",
        created_by=trust.maker_id,
        expires_in_us=LASTS_S * US_PER_S,
    )
    after = {"principal": name, "scopes": list(_SCOPES), "worker_trust": trust.id, "pod": pod.name}
    itself.record(conn, Action.TOKEN_EXCHANGE, f"token/{token_id}", on=EVERYTHING, before=None, after=after)
    return PodEnrolled(access_token=secret, expires_in=LASTS_S, principal=name, keyid=key.keyid)


def _find_worker(conn: sa.Connection, name: str) -> int:
    """Find or make the principal of a pod, and lock it until the transaction ends."""
    found = principal_queries.lock_principal(conn, name)
    if found is None:
        return principal_queries.add_principal(conn, name, kind=WORKER)
    row = principal_queries.principal_row(conn, name)
    if found[1] != WORKER or row is None or row.disabled_at is not None:
        raise AssertionRefused(f"{name} is no worker, or was disabled", fix="deltareg principal show " + name)
    return found[0]


def _set_key(conn: sa.Connection, itself: Caller, trust: WorkerTrustRow, key: PublicKey, *, host: str) -> None:
    """Enrol a key in place of the one before, unless it is that one."""
    before = key_queries.live_worker_key(conn, itself.principal_id)
    if before is not None and before.keyid == key.keyid:
        return
    if key_queries.find_key(conn, public=str(key)) is not None:
        raise AssertionRefused("this key is another worker's, or has ended", fix="let the pod make a new one")
    if before is not None and before.created_by is not None:
        raise AssertionRefused(f"an admin has enrolled {itself.principal} with another key")
    key_queries.retire_keys(conn, itself.principal_id)
    principal_queries.end_tokens_of(conn, itself.principal)
    key_queries.add_key(
        conn,
        role=WORKER,
        name=itself.principal,
        principal_id=itself.principal_id,
        keyid=key.keyid,
        public=str(key),
        host=host,
        created_by=None,
    )
    action = Action.KEY_ENROL if before is None else Action.KEY_ROTATE
    after = {"role": WORKER, "name": itself.principal, "key": str(key), "host": host, "worker_trust": trust.id}
    was = None if before is None else {"keyid": before.keyid, "host": before.host}
    itself.record(conn, action, f"key/{key.keyid}", on=EVERYTHING, before=was, after=after)


def _bytes_of(signature: str) -> bytes:
    try:
        return bytes.fromhex(signature)
    except ValueError as error:
        raise InvalidInput("the signature is no hex digits") from error
