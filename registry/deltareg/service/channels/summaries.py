"""The gate's answer as the server signs it: a SLSA verification summary, returned and stored.

Whoever has the server's public key can check a version with it, without asking the server. One is
stored with each promotion, in the same transaction.
"""

from collections.abc import Sequence
from hashlib import sha256

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.channels.rows import ChannelRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.db.sql.clock import read_clock
from deltareg.db.sql.row_protocols import present
from deltareg.db.verdicts import signing as queries
from deltareg.errors import NotFound
from deltareg.gate.outside_terms import rule_on_outside
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.clock import rfc3339_seconds
from deltareg.service.describe import ref_of
from deltareg.service.ledger.channel_policy import digest_of_policy, policy_of
from deltareg.service.lines.outside import outside_facts
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel
from deltareg.signing.keys import SigningKey
from deltareg.signing.signed_statements import sign_statement
from deltareg.wire import GateSummary
from deltareg.wire.statements import summary_statement

BROKEN_GLASS = "break_glass"


def sign_answer(
    conn: sa.Connection,
    signer: SigningKey,
    *,
    ref: str,
    digest: str,
    channel: str,
    policy_digest: str,
    verdicts: Sequence[str],
    evidence: Sequence[str],
    unmet: Sequence[str],
) -> bytes:
    """Sign the answer of a gate about a version, with the verdicts that it rests on.

    Args:
        conn: A transaction.
        signer: The server's key.
        ref: The version.
        digest: The digest of its manifest.
        channel: The channel.
        policy_digest: The digest of its policy.
        verdicts: The verdicts that the answer rests on.
        evidence: The digests of what others say that it rests on.
        unmet: The rules that are not met.
    """
    rows = [queries.envelope_row(conn, verdict) for verdict in verdicts]
    inputs = {row.verdict_id: sha256(row.body).hexdigest() for row in rows if row is not None}
    statement = summary_statement(
        ref,
        digest,
        channel=channel,
        policy_digest=policy_digest,
        inputs=inputs,
        evidence=evidence,
        unmet=unmet,
        server=f"urn:deltareg:server:{signer.keyid}",
        at=rfc3339_seconds(read_clock(conn)),
    )
    return sign_statement(statement, signer)


def keep_summary(conn: sa.Connection, signer: SigningKey | None, channel_id: int, *, number: int) -> None:
    """Sign and store the gate's answer for a revision of a channel, if it is a promotion."""
    channel = channel_queries.channel_by_id(conn, channel_id)
    revision = channel_queries.revision_at(conn, channel_id, number=number)
    if signer is None or revision is None or revision.kind != "promote":
        return
    version = version_queries.version_by_id(conn, present(revision.version_id))
    signed = sign_answer(
        conn,
        signer,
        ref=ref_of(version),
        digest=version.manifest_digest,
        channel=channel.name,
        policy_digest=digest_of_policy(channel),
        verdicts=list(revision.verdict_ids),
        evidence=_evidence(conn, version, channel),
        unmet=[BROKEN_GLASS] if revision.break_glass else [],
    )
    queries.add_summary(conn, revision.id, keyid=signer.keyid, body=signed)


def _evidence(conn: sa.Connection, version: VersionRow, channel: ChannelRow) -> list[str]:
    """Return the digests of what others say that a promotion to a channel has just rested on."""
    terms = policy_of(channel).outside
    rulings = rule_on_outside(ref_of(version), terms, outside_facts(conn, version, terms))
    return [digest for ruling in rulings for digest in ruling.evidence]


def show_summary(registry: Registry, caller: Caller, line: LineRef, name: str, number: int) -> GateSummary:
    """Return what the server signed when a channel was promoted.

    Raises:
        NotFound: There is no such revision, or nothing was signed for it.
    """
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        channel = find_channel(conn, caller, line, name)
        revision = channel_queries.revision_at(conn, channel.id, number=number)
        row = None if revision is None else queries.summary_row(conn, revision.id)
    if row is None:
        raise NotFound(f"nothing is signed about {line}@{name}#{number}", fix=f"deltareg channel history {line} {name}")
    return GateSummary(channel=name, revision=number, keyid=row.keyid, envelope=row.body.decode())
