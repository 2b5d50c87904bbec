"""What others say about a version, gathered for the gate and for people.

What was signed lies among the referrers, what was not among the evaluations. Both were read when
they came; what follows from their bytes alone is cached by their digest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import sqlalchemy as sa

from deltareg.db.lines import evaluations as evaluation_queries
from deltareg.db.lines import referrers as referrer_queries
from deltareg.db.lines import search as search_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.evaluation_rows import EvaluationRow
from deltareg.db.lines.referrer_rows import ReferrerRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.documents.evaluation import EVALUATION, read_evaluation
from deltareg.documents.model_card import problems_about
from deltareg.errors import DeltaregError
from deltareg.gate.outside_facts import CardFact, OutsideFact, OutsideFacts
from deltareg.gate.outside_terms import OutsideTerms
from deltareg.identity.manifest import Manifest
from deltareg.service.describe import signatory_of
from deltareg.service.digest_cache import DigestCache, decode_manifest
from deltareg.service.lines.cards import unpack_card
from deltareg.signing.attested import Attestation, is_about_whole, read_attested
from deltareg.signing.bundles import is_bundle, read_bundle, read_sealed
from deltareg.suites.golden_file import GOLDEN_FILE
from deltareg.tensors.header import strict_json_object

_CARD_KEYS: Final = ("license", "datasets")
_BYTES_EACH: Final = 64


@dataclass(frozen=True, slots=True)
class SignedContent:
    """What the bytes of an attestation say, whoever brought them.

    Attributes:
        attested: Its subject, and what came out; None where this release cannot read it.
        payload: The sha256 of the bytes that were signed. The envelope around them has many
            spellings, so these tell whether one is brought again.
    """

    attested: Attestation | None
    payload: str


_SIGNED: Final = DigestCache[SignedContent](bytes_max=8 << 20)
_MEASURED: Final = DigestCache[dict[str, float]](bytes_max=8 << 20)


@dataclass(frozen=True, slots=True)
class SaidAbout:
    """One thing that somebody says about a version: its fact for the gate, and its row."""

    fact: OutsideFact
    row: ReferrerRow | EvaluationRow


def outside_facts(conn: sa.Connection, version: VersionRow, terms: OutsideTerms) -> OutsideFacts:
    """Gather of what others say about a version what some terms of a policy ask for."""
    said = [each.fact for each in said_about(conn, version) if _is_standing(each.row)] if terms.asks_others else []
    return OutsideFacts(said, _card_fact(conn, version) if terms.asks_card else None)


def said_about(conn: sa.Connection, version: VersionRow) -> list[SaidAbout]:
    """List the attestations and then the evaluations of a version, each oldest first.

    Withdrawn ones are among them.
    """
    signed = referrer_queries.referrer_rows(conn, [version.id], form="attestation")
    manifest = _manifest(conn, version) if signed else None
    said = [SaidAbout(_signed_fact(conn, row, manifest), row) for row in signed if manifest is not None]
    measured = evaluation_queries.evaluation_rows(conn, version.id)
    return said + [SaidAbout(_measured_fact(conn, row), row) for row in measured]


def signed_content(digest: str, raw: Callable[[], bytes]) -> SignedContent:
    """Read what an attestation says, without verifying it, or return what was read before.

    Args:
        digest: The digest of its bytes.
        raw: Returns the bytes; called only if they were not read before.
    """
    cached = _SIGNED.get(digest)
    if cached is not None:
        return cached
    body = raw()
    payload = (read_bundle(body).sealed if is_bundle(body) else read_sealed(body)).payload
    try:
        attested = read_attested(payload)
    except DeltaregError:  # taken by a release that read less of it
        attested = None
    content = SignedContent(attested, sha256(payload).hexdigest())
    entries = 1 if attested is None else 1 + len(attested.digests) + len(attested.metrics)
    return _SIGNED.keep(digest, content, size_bytes=_BYTES_EACH * entries)


def _signed_fact(conn: sa.Connection, row: ReferrerRow, manifest: Manifest) -> OutsideFact:
    content = signed_content(row.digest, lambda: referrer_queries.referrer_body(conn, row.id).body)
    attested = content.attested
    has_passed = None if attested is None else attested.has_passed
    return OutsideFact(
        digest=row.digest,
        predicate_type=row.predicate_type,
        sender=row.sender or "registry",
        signatory=signatory_of(row),
        outcome="" if has_passed is None else "pass" if has_passed else "fail",
        metrics={} if attested is None else attested.metrics,
        revoked=row.revoked or "",
        is_whole=attested is not None and _is_whole(attested, manifest),
    )


def _measured_fact(conn: sa.Connection, row: EvaluationRow) -> OutsideFact:
    metrics = _MEASURED.get(row.digest)
    if metrics is None:
        metrics = read_evaluation(strict_json_object(evaluation_queries.evaluation_body(conn, row.id).strip()))
        _MEASURED.keep(row.digest, metrics, size_bytes=_BYTES_EACH * (1 + len(metrics)))
    return OutsideFact(row.digest, EVALUATION, row.sender or "registry", metrics=metrics)


def _is_whole(attested: Attestation, manifest: Manifest) -> bool:
    """Whether it is about all that decides: tensors and JSON, but the golden outputs of a push."""
    files = {file.path: file.digest.hex for file in manifest.files}
    settings = {path for path in files if path.endswith(".json") and path != GOLDEN_FILE}
    deciding = settings | {file.path for file in manifest.files if file.is_tensors}
    return is_about_whole(attested, manifest.digest.hex, files, deciding=deciding)


def _manifest(conn: sa.Connection, version: VersionRow) -> Manifest:
    return decode_manifest(version.manifest_digest, lambda: version_queries.content(conn, version.id).manifest)


def _is_standing(row: ReferrerRow | EvaluationRow) -> bool:
    return isinstance(row, ReferrerRow) or row.withdrawn is None


def _card_fact(conn: sa.Connection, version: VersionRow) -> CardFact | None:
    """Return what the card declares, as it was read out of the version's own files at its push."""
    document = search_queries.card_of(conn, version.id)
    if document is None:
        if search_queries.is_read(conn, version.id):
            return None
        return CardFact(problems=["this server has not read it yet; it does so in a minute"])
    card = unpack_card(document)
    licences = [name for name in card.license.split(", ") if name]
    return CardFact(licences, card.datasets, problems_about(card, *_CARD_KEYS))
