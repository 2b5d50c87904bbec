"""Signers that the tests play: keys, an authority with certificates, bundles and envelopes."""

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from deltareg.signing.making import SigningCredentials, sign_files
from deltareg.signing.pem_keys import PemKey
from deltareg.signing.statement import PAYLOAD_TYPE

BUNDLES = "sign: pip install 'deltareg[sign]'"


def library():
    """Skip what needs model-signing where it is not installed whole."""
    pytest.importorskip("OpenSSL", reason=BUNDLES)
    return pytest.importorskip("model_signing.verifying", reason=BUNDLES)


@cache
def private(name):
    """Give the private key of somebody, the same within a session."""
    assert name
    return ec.generate_private_key(ec.SECP256R1())


def public(name):
    """Give their public key."""
    raw = private(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PemKey.parse(raw.decode())


def key_files(folder, name):
    """Write somebody's pair into files."""
    path, pub = folder / f"{name}.pem", folder / f"{name}.pub"
    path.touch(mode=0o600)
    path.write_bytes(private(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pub.write_text(public(name).pem)
    return path, pub


def certificate(name, issuer, *, days=30, age=1, is_authority=False):
    """Give somebody's certificate by an issuer, for signing code or for certificates.

    An authority's begins a day before those that it issues: a second may end between the two.
    """
    now = datetime.now(UTC)
    key, above = private(name), private(issuer)
    made = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=age + is_authority))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(_usage(is_authority=is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False)
    )
    if not is_authority:
        alternative = x509.SubjectAlternativeName([x509.RFC822Name(f"{name}@example.org")])
        made = made.add_extension(alternative, critical=False).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
        )
    return made.sign(above, hashes.SHA256())


def certificate_files(folder, name, authority, **of):
    """Write somebody's key, their certificate and that of the authority into files."""
    path, _ = key_files(folder, name)
    cert, root = folder / f"{name}.crt", folder / f"{authority}.crt"
    cert.write_bytes(certificate(name, authority, **of).public_bytes(Encoding.PEM))
    ca = certificate(authority, authority, is_authority=True)
    root.write_bytes(ca.public_bytes(Encoding.PEM))
    return path, cert, root


def bundle(folder, name, files):
    """Let somebody sign files."""
    library()
    key, _ = key_files(folder, name)
    return sign_files("delta", files, SigningCredentials(key))


def changed(raw, change, *, signer=None):
    """Give a bundle with another payload, signed anew by somebody or not at all."""
    fields = json.loads(raw)
    sealed = fields["dsseEnvelope"]
    payload = json.loads(base64.b64decode(sealed["payload"]))
    change(payload)
    text = json.dumps(payload).encode()
    sealed["payload"] = base64.b64encode(text).decode()
    if signer is not None:
        sealed["signatures"][0]["sig"] = _signature(text, signer)
        fields["verificationMaterial"]["publicKey"]["hint"] = public(signer).keyid
    return json.dumps(fields).encode()


def rooted(payload):
    """Make the subject of a statement that of its files again."""
    digests = [item["digest"] for item in payload["predicate"]["resources"]]
    root = sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()
    payload["subject"][0]["digest"]["sha256"] = root


def attestation(signer, subjects, *, kind="https://slsa.dev/provenance/v1", **fields):
    """Let somebody attest something about digests."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()],
        "predicateType": kind,
        "predicate": {"builder": {"id": "https://example.org/ci"}},
    } | fields
    text = json.dumps(statement).encode()
    return json.dumps(
        {
            "payload": base64.b64encode(text).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": "", "sig": _signature(text, signer)}],
        }
    ).encode()


def _signature(payload, signer):
    signature = Envelope(payload, PAYLOAD_TYPE, {}).sign(CryptoSigner(private(signer)))
    return base64.b64encode(bytes.fromhex(signature.signature)).decode()


def _named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, is_authority):
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
