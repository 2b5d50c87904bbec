"""Rows as the wire shows them: versions with verdict and channels, bases with relations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.access.principals import principal_name
from deltareg.db.bases import base_names, stacks
from deltareg.db.bases.rows import BaseRow, HubIdRow
from deltareg.db.channels.channels import pointers
from deltareg.db.channels.rows import PointerRow
from deltareg.db.lines import versions as queries
from deltareg.db.lines.referrer_rows import ReferrerRow
from deltareg.db.lines.referrers import referrer_rows
from deltareg.db.lines.revocations import standing_revocations
from deltareg.db.lines.version_rows import ResolvedRow, RevocationRow, VersionRow
from deltareg.db.runs.superseding import superseding_versions
from deltareg.db.sql.row_protocols import VersionColumns, present
from deltareg.db.sql.together import CombinedResult
from deltareg.db.storage import proofs
from deltareg.db.storage.proof_rows import RelyingRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.verdicts.outcomes import newest_outcomes
from deltareg.db.verdicts.rows import OutcomeRow
from deltareg.db.verdicts.verdicts import newest_verdict_id, verdict_row
from deltareg.refs import LineRef
from deltareg.service.base_parts import identity_of, manifest_of_base, whole_of
from deltareg.service.clock import rfc3339
from deltareg.service.digest_cache import describe_manifest, golden_in_verdict
from deltareg.signing.signatories import Signatory
from deltareg.suites.golden_file import GOLDEN_FILE
from deltareg.suites.suite import DEFAULT_SUITE, built_in
from deltareg.wire import (
    BaseInfo,
    BaseName,
    BaseRelation,
    Deprecation,
    ProofState,
    ReferrerInfo,
    Revocation,
    VersionDetail,
    VersionInfo,
)


def ref_of(row: VersionColumns) -> str:
    """Format a version row as `ns/name:vN`."""
    return f"{row.namespace}/{row.line}:v{row.number}"


def line_of(row: VersionColumns) -> LineRef:
    """Return the line of a version row, or of a row about a version."""
    return LineRef(present(row.namespace), present(row.line))


def describe_versions(
    conn: sa.Connection, rows: Sequence[VersionRow], *, serving: Sequence[PointerRow] | None = None
) -> list[VersionInfo]:
    """Describe versions; verdicts, channels and revocations are looked up once for all of them.

    `serving` is what the channels of their lines serve, where that is known already.
    """
    suite = built_in(DEFAULT_SUITE)
    ids = [row.id for row in rows]
    outcomes = newest_outcomes(conn, ids, suite=suite.name, suite_digest=str(suite.digest))
    revoked = standing_revocations(conn, (row.id for row in rows if row.revoked_at is not None))
    signatures = signatures_of(conn, rows)
    passed_over = superseding_versions(conn, [row.id for row in rows if row.id not in outcomes], suite=suite.name)
    channels: dict[int, list[str]] = {}
    for pointer in pointers(conn, {row.delta_id for row in rows}) if serving is None else serving:
        channels.setdefault(pointer.version, []).append(pointer.name)
    return [
        _describe_version(
            row,
            _Standing(
                outcome=outcomes.get(row.id),
                channels=channels.get(row.id, ()),
                revocation=_revocation(revoked.get(row.id)),
                signatures=signatures.get(row.id, ()),
                superseded_by=passed_over.get(row.id, ""),
            ),
        )
        for row in rows
    ]


def describe_version(conn: sa.Connection, row: VersionRow, *, created: bool = False) -> VersionInfo:
    """Describe one version."""
    return describe_versions(conn, [row])[0].model_copy(update={"created": created})


def describe_plain(row: VersionRow, outcome: OutcomeRow | None, *, channels: Sequence[str] = ()) -> VersionInfo:
    """Describe a version from its row and the given outcome and channels; looks nothing up."""
    return _describe_version(row, _Standing(outcome=outcome, channels=channels))


def base_claim_of(row: VersionRow) -> str:
    """Return the base that a version's own files name, where who pushed it insisted on another."""
    return str(getattr(row, "base_claim", None) or "")


def describe_resolved(rows: Sequence[ResolvedRow]) -> VersionInfo:
    """Describe a resolved version from the rows of one statement."""
    return _describe_version(rows[0], _resolved_standing(rows))


def describe_detail(conn: sa.Connection, rows: Sequence[ResolvedRow]) -> VersionDetail:
    """Describe a resolved version with what its manifest says."""
    row = rows[0]
    summary = describe_manifest(row.manifest_digest, lambda: queries.content(conn, row.id).manifest)
    parents = queries.parents_of(conn, row.id) if row.has_parents else ()
    is_on_plain = row.base_id is not None and row.base_depth is None
    signatures = signatures_of(conn, [row]).get(row.id, ())
    standing = _resolved_standing(rows, signatures=signatures, superseded_by=_superseded_by(conn, row))
    sender, relying = ("", []) if row.corrupt_at is None else _look_at_lie(conn, row)
    return VersionDetail(
        **vars(_describe_version(row, standing)),
        parents=[ref_of(parent) for parent in parents],
        source=summary.source,
        config=summary.config,
        tensors=summary.tensors,
        modules=summary.modules,
        files=summary.files,
        stack=[row.base_name or ""] if is_on_plain else describe_stack(conn, row),
        golden=_golden(conn, row, summary.files),
        sender=sender,
        relying=relying,
    )


def _golden(conn: sa.Connection, row: ResolvedRow, files: Sequence[str]) -> str:
    """Return where a version's golden outputs come from, as far as a worker has checked."""
    if GOLDEN_FILE not in files:
        return ""
    newest = newest_verdict_id(conn, row.id, row.base_root, suite=DEFAULT_SUITE)
    said = "" if newest is None else golden_in_verdict(newest, lambda: _checks(conn, newest))
    return said or "recorded; a verification says how"


def _checks(conn: sa.Connection, verdict_id: str) -> Sequence[Mapping[str, object]]:
    return present(verdict_row(conn, verdict_id)).checks


def _superseded_by(conn: sa.Connection, row: ResolvedRow) -> str:
    """Return the newer version whose verification superseded this one's; mostly empty."""
    if row.verdict is not None:
        return ""
    return superseding_versions(conn, [row.id], suite=DEFAULT_SUITE).get(row.id, "")


def _look_at_lie(conn: sa.Connection, row: VersionRow) -> tuple[str, list[str]]:
    """Return who sent the bytes of a corrupt version, and the names of what shares packs with it."""
    holder = PackHolder(row.id)
    relying = proofs.relying_on(conn, holder, proofs.packs_of(conn, holder))
    return principal_name(conn, sender_of(row)), [name_of_relying(other) for other in relying]


def name_of_relying(row: RelyingRow) -> str:
    """Format the reference of a version or base that shares packs with something corrupt."""
    return f"base/{row.base_name}" if row.base_id is not None else ref_of(row)


@dataclass(frozen=True, slots=True)
class _Standing:
    """Facts about a version beyond its row."""

    outcome: OutcomeRow | None = None
    channels: Sequence[str] = ()
    revocation: Revocation | None = None
    signatures: Sequence[ReferrerInfo] = ()
    superseded_by: str = ""


def _resolved_standing(
    rows: Sequence[ResolvedRow], *, signatures: Sequence[ReferrerInfo] = (), superseded_by: str = ""
) -> _Standing:
    row = rows[0]
    revocation = None
    if row.withdrawn_at is not None and row.revoked_by is not None:
        at, reason = rfc3339(row.withdrawn_at), row.revoked_because or ""
        revocation = Revocation(actor=row.revoked_by, at=at, reason=reason)
    return _Standing(
        outcome=None if row.verdict is None else OutcomeRow(row.id, row.verdict, bool(row.warns)),
        channels=[each.serving for each in rows if each.serving is not None],
        revocation=revocation if row.revoked_at is not None else None,
        signatures=signatures,
        superseded_by=superseded_by,
    )


def describe_stack(conn: sa.Connection, row: VersionRow) -> list[str]:
    """List what a version stands on, from the foot: a base, then versions."""
    if row.base_id is None:
        return []
    below = stacks.stack_below(conn, row.base_id)
    bottom = below[-1] if below else row
    return [bottom.base_name or "", *(ref_of(version) for version in reversed(below))]


def describe_base(conn: sa.Connection, row: BaseRow, *, created: bool = False) -> BaseInfo:
    """Describe one base."""
    return describe_bases(conn, [row], created=created)[0]


def describe_bases(conn: sa.Connection, rows: Sequence[BaseRow], *, created: bool = False) -> list[BaseInfo]:
    """Describe bases; their other names are looked up once for all of them."""
    names = base_names.names_of(conn, [row.id for row in rows])
    return [_describe_base(conn, row, names, created=created) for row in rows]


def _describe_base(conn: sa.Connection, row: BaseRow, names: CombinedResult, *, created: bool) -> BaseInfo:
    manifest = manifest_of_base(conn, row)
    return BaseInfo(
        name=row.name,
        root=row.root,
        manifest_digest=row.manifest_digest,
        model_type=str(manifest.config.get("model_type", "")),
        is_stored=bool(row.is_stored),
        location=row.location,
        tensors=len(manifest.tensors),
        logical_bytes=row.logical_bytes,
        stored_bytes=row.stored_bytes,
        created=created,
        created_at=rfc3339(row.created_at),
        created_by=row.maker or "registry",
        deltas=row.deltas,
        relations=[
            BaseRelation(relation=one.relation, root=one.other_root, name=one.name)
            for one in names.all(base_names.RELATIONS)
            if one.base_id == row.id
        ],
        version=None if row.version_id is None else row.name,
        depth=row.depth or 0,
        bottom=_bottom(row),
        recipe=row.recipe or "",
        variant_of=_full(row),
        quantised=row.scheme or "",
        variants=[v.name for v in names.all(base_names.VARIANTS) if v.root_id == row.id],
        identity=row.identity or identity_of(conn, row),
        parts=_parts(conn, row),
        is_partial=bool(row.is_partial),
        aliases=[one.name for one in names.all(base_names.ALIASES) if one.base_id == row.id],
        hub_ids=[_hub_id(h) for h in names.all(base_names.HUB_IDS) if h.base_id == row.id],
        proof=proof_of(row) if row.is_stored else None,
    )


def signatures_of(conn: sa.Connection, rows: Sequence[VersionRow]) -> dict[int, list[ReferrerInfo]]:
    """Return the signatures of versions, by version id; no query where none has any."""
    signed = [row.id for row in rows if row.signatures]
    signatures: dict[int, list[ReferrerInfo]] = {}
    for row in referrer_rows(conn, signed, form="signature") if signed else ():
        signatures.setdefault(row.version_id, []).append(describe_referrer(row))
    return signatures


def describe_referrer(row: ReferrerRow) -> ReferrerInfo:
    """Describe a signature or attestation of a version."""
    return ReferrerInfo(
        digest=row.digest,
        form=row.form,
        predicate_type=row.predicate_type,
        signed_by=signatory_of(row).description,
        keyid=row.keyid,
        ca=row.ca,
        issuer=row.issuer,
        identity=row.identity,
        revoked=row.revoked or "",
        size_bytes=row.size_bytes,
        created_at=rfc3339(row.created_at),
        created_by=row.sender or "registry",
    )


def signatory_of(row: ReferrerRow) -> Signatory:
    """Return who signed something about a version."""
    return Signatory(row.keyid, row.ca, row.issuer, row.identity)


def proof_of(row: VersionRow | BaseRow) -> ProofState:
    """Return whether the bytes of a version or a base are claimed, proven or corrupt as stored now."""
    if row.corrupt_at is not None:
        return "corrupt"
    return "proven" if row.proven_revision == row.storage_revision else "claimed"


def sender_of(row: VersionRow | BaseRow) -> int | None:
    """Return the principal who sent the bytes as stored now; None for the registry itself."""
    return row.created_by if row.stored_by is None else row.stored_by


def _parts(conn: sa.Connection, row: BaseRow) -> dict[str, str]:
    if row.parts is not None:
        return row.parts
    whole = whole_of(conn, row)
    return {} if whole is None else {name: str(digest) for name, digest in whole.parts.items()}


def _bottom(row: BaseRow) -> BaseName | None:
    if row.version_id is None:
        return None
    return BaseName(name=row.bottom_name or "", root=row.bottom_root or "")


def _full(row: BaseRow) -> BaseName | None:
    if row.scheme is None:
        return None
    return BaseName(name=row.full_name or "", root=row.full_root or "")


def _hub_id(row: HubIdRow) -> str:
    return f"{row.hub_id}@{row.revision}" if row.revision else row.hub_id


def _describe_version(row: VersionRow, standing: _Standing) -> VersionInfo:
    outcome = standing.outcome
    return VersionInfo(
        ref=ref_of(row),
        namespace=row.namespace,
        name=row.line,
        version=row.number,
        digest=row.manifest_digest,
        kind=row.kind,
        variant=row.variant,
        foldable=row.foldable,
        base=BaseName(name=row.base_name or "", root=row.base_root, identity=row.base_identity or ""),
        trained_on=row.trained_on or "",
        base_claim=row.base_claim or "",
        message=row.message,
        semver=row.semver,
        labels=row.labels,
        logical_bytes=row.logical_bytes,
        stored_bytes=row.stored_bytes,
        uploaded_bytes=row.uploaded_bytes,
        cold_bytes=row.cold_bytes or None,
        created_at=rfc3339(row.created_at),
        created_by=row.maker or "registry",
        is_deleted=row.deleted_at is not None,
        is_revoked=row.revoked_at is not None,
        proof=proof_of(row),
        verdict=None if outcome is None else outcome.verdict,
        has_warnings=outcome is not None and outcome.verdict == "pass" and outcome.warns,
        channels=list(standing.channels),
        revocation=standing.revocation,
        signatures=list(standing.signatures),
        superseded_by=standing.superseded_by,
        deprecation=deprecation_of(row.deprecation or row.line_deprecation),
    )


def deprecation_of(said: Mapping[str, str] | None) -> Deprecation | None:
    """Describe a deprecation as its row has it."""
    if said is None:
        return None
    return Deprecation(actor=said["actor"], at=said["at"], reason=said["reason"], successor=said.get("successor", ""))


def _revocation(row: RevocationRow | None) -> Revocation | None:
    if row is None:
        return None
    return Revocation(actor=row.actor, at=rfc3339(row.created_at), reason=row.reason)
