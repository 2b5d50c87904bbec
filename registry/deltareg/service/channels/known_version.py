"""What is known of a version whatever channel asks, gathered once for all that do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.queries.base_identities import aliases_of
from deltareg.db.queries.outcomes import verdict_facts
from deltareg.db.queries.referrers import referrer_rows
from deltareg.db.queries.waivers import waivers_of
from deltareg.db.rows import VerdictFactRow, VersionRow, WaiverRow
from deltareg.digest import Digest
from deltareg.gate.judge import Candidate
from deltareg.gate.signature_terms import SignatureFact
from deltareg.gate.verdict_facts import VerdictFact
from deltareg.service.base_parts import identities_of_variants, roots_of_variants
from deltareg.service.describe import proof_of, ref_of, signatory_of
from deltareg.service.lines.corrupt_below import corrupt_below
from deltareg.service.lines.revoked import revoked_below, tell_revocation
from deltareg.service.verdicts.facts import fact_of
from deltareg.service.verdicts.waivers import standing_on


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """A version with its verdicts and their waivers.

    Attributes:
        candidate: The version; whether it is quarantined is for a channel to say.
        verdicts: Its verdicts, newest first.
        waivers: The waivers of each, ended ones too.
        variants: The roots of all variants of its base, by name.
        identities: Their identities, as far as they are known.
    """

    candidate: Candidate
    verdicts: Sequence[VerdictFactRow]
    waivers: Mapping[str, Sequence[WaiverRow]]
    variants: Mapping[str, str]
    identities: Mapping[str, str]

    def verdicts_on(self, channel_id: int) -> list[VerdictFact]:
        """Give the verdicts as the gate of a channel sees them, newest first."""
        return [
            fact_of(row, standing_on(self.waivers.get(row.id, ()), channel_id=channel_id))
            for row in self.verdicts
        ]


def known_of(conn: sa.Connection, version: VersionRow) -> KnownVersion:
    """Gather what is known of a version, inside a transaction."""
    rows = verdict_facts(conn, version.id)
    return KnownVersion(
        _candidate(conn, version), rows, waivers_of(conn, [row.id for row in rows]),
        roots_of_variants(conn, version.base_id), identities_of_variants(conn, version.base_id),
    )  # fmt: skip


def _candidate(conn: sa.Connection, version: VersionRow) -> Candidate:
    below = corrupt_below(conn, version)
    return Candidate(
        ref=ref_of(version), manifest=Digest.parse(version.manifest_digest),
        base=Digest.parse(version.base_root), base_name=version.base_name or "",
        kind=version.kind, is_deleted=version.deleted_at is not None,
        revoked="" if version.revoked_at is None else tell_revocation(conn, version),
        revoked_below=revoked_below(conn, version), identity=version.base_identity or "",
        base_aliases=() if version.base_id is None else aliases_of(conn, version.base_id),
        signatures=_signatures(conn, version), proof=proof_of(version),
        corrupt_below="" if below is None else below.told,
        corrupt_fix="" if below is None else below.fix,
    )  # fmt: skip


def _signatures(conn: sa.Connection, version: VersionRow) -> list[SignatureFact]:
    if not version.signatures:
        return []
    rows = referrer_rows(conn, [version.id], form="signature")
    return [SignatureFact(signatory_of(row), revoked=row.revoked or "") for row in rows]
