"""What is signed: envelopes, bundles, statements, notes, checkpoints, logs and their proofs, keys, assertions.

What a signature guards is damaged before it is signed, so that it is read.
"""

from base64 import urlsafe_b64encode

from deltareg.service.access.exchange.assertions import read_assertion
from deltareg.signing.age_keys import check_recipients, read_identities
from deltareg.signing.attested import read_attested
from deltareg.signing.bundles import is_bundle, read_bundle, read_sealed
from deltareg.signing.envelopes import open_envelope, seal, signer_of
from deltareg.signing.keys import KeyText, PublicKey, SigningKey
from deltareg.signing.making import read_private
from deltareg.signing.notes import open_note, sign_note
from deltareg.signing.opening import load_authorities, read_beside
from deltareg.signing.pem_keys import PemKey
from deltareg.signing.secret_box import SecretBox
from deltareg.signing.signed_files import read_signed_files
from deltareg.signing.statement import decode_statement, encode_statement
from deltareg.trail.check import LogEvidence
from deltareg.trail.checkpoint import open_checkpoint
from deltareg.trail.excerpt import ExcerptCheck
from deltareg.trail.lines import check_lines, read_lines
from deltareg.trail.log_copy import KeptLog
from deltareg.trail.verified import VerifiedLog
from tests.fuzz.target import Target, of_file, of_text
from tests.signers import key_of

KEY = key_of("the server")
KEYS = [KEY.public]


def _envelope(data: bytes) -> object:
    signer_of(data)
    read_sealed(data)
    return open_envelope(data, {KEY.public.keyid: KEY.public}, payload_type="application/vnd.in-toto+json")


def _bundle(data: bytes) -> object:
    is_bundle(data)
    return read_bundle(data)


def _checkpoint(data: bytes) -> object:
    """Open a checkpoint as it is, and one whose text is signed; a newline and a blank line part text and signatures."""
    text = data.decode("utf-8", "surrogateescape")
    if (
        text.endswith("\n")
        and text.isprintable() is False
        and "\n\n" not in text
        and not any("\ud800" <= c <= "\udfff" for c in text)
    ):
        return open_checkpoint(sign_note(text, KEY, name=text.partition("\n")[0]), KEYS)
    return open_checkpoint(text, KEYS)


def _note(data: bytes) -> object:
    return open_note(data.decode("utf-8", "surrogateescape"), KEYS, name="here/log")


def _log(data: bytes) -> object:
    lines = read_lines(data.decode("utf-8", "surrogateescape").split("\n"))
    check = check_lines(lines, KEYS, LogEvidence())
    return check.conclude(whole_at=1)


def _excerpt(data: bytes) -> object:
    lines = read_lines(data.decode("utf-8", "surrogateescape").split("\n"))
    check = ExcerptCheck(next(lines, {}), KEYS, LogEvidence())
    check.read(lines)
    return None


def _verified(data: bytes) -> object:
    found = VerifiedLog.decode(data.decode("utf-8", "replace"))
    if found is not None:
        assert VerifiedLog.decode(found.encode()) == found
    return None


def _assertion(data: bytes) -> object:
    """Read an assertion whose parts are given plain, a line each."""
    parts = data.split(b"\n")
    return read_assertion(".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts))


def _payload(data: bytes) -> object:
    sealed = seal(data, KEY, payload_type="application/vnd.in-toto+json")
    return decode_statement(
        open_envelope(sealed, {KEY.public.keyid: KEY.public}, payload_type="application/vnd.in-toto+json").payload
    )


TARGETS = (
    Target("envelope", _envelope, ("signing.envelopes", "signing.bundles")),
    Target("bundle", _bundle, ("signing.bundles",)),
    Target("statement", _payload, ("signing.statement",), write=encode_statement),
    Target("attested", read_attested, ("signing.attested",)),
    Target("signed-files", read_signed_files, ("signing.signed_files",)),
    Target("note", _note, ("signing.notes",)),
    Target("checkpoint", _checkpoint, ("trail.checkpoint",)),
    Target("log", _log, ("trail.lines", "trail.check")),
    Target("excerpt", _excerpt, ("trail.excerpt",)),
    Target("log-copy", of_text(lambda text: KeptLog.read(text, KEYS, where="it").cut_off), ("trail.log_copy",)),
    Target("log-head", of_text(KeptLog.head_of), ("trail.log_copy",), allowed=(ValueError,)),
    Target("verified-log", _verified, ("trail.verified",)),
    Target(
        "public-key",
        of_text(PublicKey.parse),
        ("signing.keys",),
        seeds=(str(KEY.public).encode(),),
        write=lambda key: str(key).encode(),
    ),
    Target("key-text", of_text(KeyText.parse), (), seeds=(str(KEY.public).encode(), f"{KEY.public}@host".encode())),
    Target("signing-key", SigningKey.of_pem, ("signing.keys",), seeds=(KEY.pem(),)),
    Target("private-key", of_file(read_private), ("signing.making",), seeds=(KEY.pem(),)),
    Target("pem-key", of_text(PemKey.parse), ("signing.pem_keys",), seeds=(KEY.public.pem().encode(),)),
    Target("beside", of_text(read_beside), ("signing.opening",), seeds=(KEY.public.pem().encode(),)),
    Target("authorities", load_authorities, ("signing.opening",)),
    Target(
        "secret-box",
        SecretBox.of_text,
        ("signing.secret_box",),
        seeds=(b"q83v" * 10 + b"q80=\n",),
        allowed=(ValueError,),
    ),
    Target("age-identities", of_file(read_identities), ("signing.age_keys",)),
    Target("age-recipients", of_text(lambda text: check_recipients(text.split(","))), ("signing.age_keys",)),
    Target("assertion", _assertion, ("service.access.exchange.assertions",)),
)
