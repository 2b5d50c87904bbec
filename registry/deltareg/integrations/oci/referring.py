"""Signatures, attestations and signed verdicts about a version, as referrers of its artifact.

Each is kept whole, as it was signed, in one layer, and can be verified without this registry.
"""

from collections.abc import Iterator

from deltareg.client import Client
from deltareg.integrations.oci.content import EMPTY, Descriptor, OciBlob, OciBundle, make_manifest
from deltareg.integrations.oci.packing import OURS
from deltareg.wire import VersionDetail
from deltareg.wire.statements import VERDICT

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT = "application/vnd.in-toto+json"
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
PREDICATE = "in-toto.io/predicate-type"
_CREATED = "org.opencontainers.image.created"


def referrers_of(client: Client, version: VersionDetail, subject: Descriptor) -> Iterator[OciBundle]:
    """Yield what was signed about a version, oldest first: signatures, attestations, verdicts."""
    for form in ("signature", "attestation"):
        for info in client.signatures.list(version.ref, form=form):
            if info.revoked:
                continue
            body = client.signatures.show(version.ref, info.digest.partition(":")[2], form=form)
            notes = {_CREATED: info.created_at, PREDICATE: info.predicate_type, f"{OURS}signed-by": info.signed_by}
            yield _referrer(body.body.encode(), _type_of(body.body), notes, subject)
    verdicts = [one for one in client.verdicts.list(version.ref) if one.keyid]
    for verdict in reversed(verdicts):
        envelope = client.verdicts.envelope(verdict.id).envelope
        notes = {
            _CREATED: verdict.created_at,
            PREDICATE: VERDICT,
            f"{OURS}suite": verdict.suite,
            f"{OURS}verdict": verdict.verdict,
        }
        yield _referrer(envelope.encode(), STATEMENT, notes, subject)


def _referrer(body: bytes, kind: str, notes: dict[str, str], subject: Descriptor) -> OciBundle:
    layer = OciBlob.of(body, ENVELOPE if kind == STATEMENT else kind)
    annotations = {key: text for key, text in notes.items() if text}
    return make_manifest(kind, OciBlob.of(b"{}", EMPTY), [layer], annotations=annotations, subject=subject)


def _type_of(body: str) -> str:
    """Return the type of a signed text: a Sigstore bundle, or an envelope."""
    return BUNDLE if '"verificationMaterial"' in body else STATEMENT
