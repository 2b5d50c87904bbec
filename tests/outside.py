"""Other systems that the tests play: what they attest is made by in-toto's and DSSE's own libraries."""

import json

from google.protobuf import json_format
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from deltareg.documents.evaluation import EVALUATION
from deltareg.signing.statement import PAYLOAD_TYPE
from tests.signed_deltas import private, public

PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"


def attest(signer, digests, *, kind=PROVENANCE, predicate=None):
    """Let somebody attest something about digests, 64 hex digits each."""
    things = [ResourceDescriptor(name=f"thing-{n}", digest={"sha256": digest}).pb for n, digest in enumerate(digests)]
    made = Statement(things, kind, predicate or {"builder": {"id": "https://example.org/ci"}})
    made.validate()
    envelope = Envelope(json_format.MessageToJson(made.pb).encode(), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(private(signer)))
    return json.dumps(envelope.to_dict()).encode()


def measure(signer, digests, **metrics):
    """Let somebody attest metrics; two underscores stand for a slash."""
    named = {name.replace("__", "/"): value for name, value in metrics.items()}
    return attest(signer, digests, kind=EVALUATION, predicate={"metrics": named})


class OtherSystem:
    """What systems outside say about the versions of a registry, brought by some client."""

    def __init__(self, client, folder):
        """Write the files that are brought into a folder."""
        self.client, self.folder = client, folder

    def brings(self, ref, raw, *, key=None):
        """Bring a file about a version, with the public key of who signed it."""
        path = self.folder / "brought.json"
        path.write_bytes(raw if isinstance(raw, bytes) else json.dumps(raw).encode())
        pub = self.folder / "brought.pub"
        pub.write_text("" if key is None else public(key).pem)
        return self.client.evidence.add(ref, path, key=None if key is None else pub)

    def attests(self, signer, ref, **more):
        """Attest something about a version, and bring it."""
        return self.brings(ref, attest(signer, [manifest_of(self.client, ref)], **more), key=signer)

    def measures(self, signer, ref, **metrics):
        """Attest metrics of a version, and bring them."""
        return self.brings(ref, measure(signer, [manifest_of(self.client, ref)], **metrics), key=signer)

    def reports(self, ref, **metrics):
        """Report metrics of a version without a signature."""
        return self.brings(ref, {"metrics": {name.replace("__", "/"): value for name, value in metrics.items()}})


def manifest_of(client, ref):
    """Give the digest of a version as others name it: the sha256 of its manifest."""
    return client.show(ref).digest.removeprefix("sha256:")


def key_of(name):
    """Write somebody as a policy names them."""
    return {"key": public(name).keyid}
