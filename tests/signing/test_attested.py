"""Attestations of others: what other tools make is read, and what they read is what we take."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from deltareg.errors import BadSignature, InvalidInput
from deltareg.signing.attested import check_about, read_attested
from deltareg.signing.bundles import read_sealed
from deltareg.signing.opening import open_sealed
from deltareg.signing.pem_keys import PemKey
from deltareg.signing.statement import PAYLOAD_TYPE
from tests.signed_deltas import attestation, public

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    "private",
    [
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ],
    ids=["ed25519", "ecdsa", "rsa"],
)
def test_what_in_toto_and_securesystemslib_make_is_opened(private):
    thing = ResourceDescriptor(name="adapter", digest={"sha256": DIGEST}).pb
    made = Statement([thing], "https://slsa.dev/provenance/v1", {"a": 1})
    made.validate()
    envelope = Envelope(json_format.MessageToJson(made.pb).encode(), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(private))
    fields = envelope.to_dict()
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = PemKey.parse(pem.decode())

    found = read_attested(open_sealed(read_sealed(json.dumps(fields).encode()), key))

    assert found.predicate_type == "https://slsa.dev/provenance/v1"
    assert found.digests == {DIGEST}


def test_what_is_taken_is_a_statement_and_an_envelope_to_others():
    fields = json.loads(attestation("builder", {"adapter": DIGEST}))
    payload = base64.b64decode(fields["payload"])

    parsed = json_format.Parse(payload, statement_pb2.Statement())
    Statement.copy_from_pb(parsed).validate()
    fields["signatures"][0]["keyid"] = public("builder").keyid
    Envelope.from_dict(fields).verify([public("builder").verifier], 1)

    assert read_attested(payload).digests == {DIGEST}


def test_a_weak_key_and_one_of_another_kind_are_refused():
    for private in (
        rsa.generate_private_key(public_exponent=65537, key_size=1024),
        ec.generate_private_key(ec.SECP256K1()),
    ):
        pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(InvalidInput, match="of a kind that nothing is signed with"):
            PemKey.parse(pem.decode())


def test_a_licence_alone_says_nothing_about_a_version():
    files = {"adapter.safetensors": "cd" * 32, "LICENSE": DIGEST}
    about = read_attested(base64.b64decode(json.loads(attestation("builder", {"licence": DIGEST}))["payload"]))

    with pytest.raises(BadSignature, match="not about the weights"):
        check_about(about, "ef" * 32, files, weights=["adapter.safetensors"])
