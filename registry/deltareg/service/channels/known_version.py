"""The facts about a version that do not depend on a channel, gathered once for all channels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.channels import before_gate
from deltareg.db.lines.referrers import referrer_rows
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.sql.together import CombinedResult
from deltareg.db.verdicts.rows import VerdictFactRow, WaiverRow
from deltareg.digest import Digest
from deltareg.gate.judge import Candidate
from deltareg.gate.signature_terms import SignatureFact
from deltareg.gate.verdict_facts import VerdictFact
from deltareg.service.describe import proof_of, ref_of, signatory_of
from deltareg.service.lines.corrupt_below import corrupt_below
from deltareg.service.lines.near import VersionAncestry, near_of
from deltareg.service.lines.revoked import revoked_below, tell_revocation
from deltareg.service.verdicts.facts import fact_of
from deltareg.service.verdicts.waivers import standing_on


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """A version with its verdicts and their waivers.

    Attributes:
        candidate: The version; whether it is quarantined depends on the channel.
        verdicts: Its verdicts, newest first.
        waivers: The waivers of each, ended ones too.
        variants: The roots of all variants of its base, by name.
        identities: The identities of those variants, as far as they are known.
    """

    candidate: Candidate
    verdicts: Sequence[VerdictFactRow]
    waivers: Mapping[str, Sequence[WaiverRow]]
    variants: Mapping[str, str]
    identities: Mapping[str, str]

    def verdicts_on(self, channel_id: int) -> list[VerdictFact]:
        """Return the verdicts as the gate of a channel sees them, newest first."""
        return [fact_of(row, standing_on(self.waivers.get(row.id, ()), channel_id=channel_id)) for row in self.verdicts]


def known_of(conn: sa.Connection, version: VersionRow) -> KnownVersion:
    """Gather the facts about a version, inside a transaction."""
    return read_known(conn, version, before_gate.fetch_known(conn, version))


def read_known(conn: sa.Connection, version: VersionRow, found: CombinedResult) -> KnownVersion:
    """Build the facts about a version from rows that were read in the same transaction."""
    waivers: dict[str, list[WaiverRow]] = {}
    for row in found.all(before_gate.WAIVERS):
        waivers.setdefault(row.verdict_id, []).append(row)
    aliases: dict[int, list[str]] = {}
    for alias in found.all(before_gate.ALIASES):
        aliases.setdefault(alias.base_id, []).append(alias.name)
    variants = {
        name: variant
        for variant in found.all(before_gate.VARIANTS)
        for name in (variant.name, *aliases.get(variant.id, ()))
    }
    own = () if version.base_id is None else aliases.get(version.base_id, ())
    return KnownVersion(
        _candidate(conn, version, near_of(conn, found), own),
        found.all(before_gate.VERDICTS),
        waivers,
        {name: variant.root for name, variant in variants.items()},
        {name: variant.identity or "" for name, variant in variants.items()},
    )


def _candidate(conn: sa.Connection, version: VersionRow, near: VersionAncestry, aliases: Sequence[str]) -> Candidate:
    below = corrupt_below(conn, version, near)
    return Candidate(
        ref=ref_of(version),
        manifest=Digest.parse(version.manifest_digest),
        base=Digest.parse(version.base_root),
        base_name=version.base_name or "",
        kind=version.kind,
        is_deleted=version.deleted_at is not None,
        revoked="" if version.revoked_at is None else tell_revocation(conn, version),
        revoked_below=revoked_below(conn, version, near),
        identity=version.base_identity or "",
        base_aliases=aliases,
        signatures=_signatures(conn, version),
        proof=proof_of(version),
        corrupt_below="" if below is None else below.description,
        corrupt_fix="" if below is None else below.fix,
    )


def _signatures(conn: sa.Connection, version: VersionRow) -> list[SignatureFact]:
    if not version.signatures:
        return []
    rows = referrer_rows(conn, [version.id], form="signature")
    return [SignatureFact(signatory_of(row), revoked=row.revoked or "") for row in rows]
