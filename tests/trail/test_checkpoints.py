"""Checkpoints and the notes that they are: Go's own vector, and sigstore's verifier beside ours."""

import base64
import random
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import verify_checkpoint
from sigstore._internal.trust import Keyring
from sigstore.errors import VerificationError
from sigstore_models.common import v1 as common

from deltareg.errors import BadSignature
from deltareg.service.registry import Registry
from deltareg.service.trail.proofs import prove_row
from deltareg.signing.keys import PublicKey, SigningKey
from deltareg.signing.notes import key_hash, open_note, sign_note
from deltareg.store.memory import MemoryStore
from deltareg.trail.checkpoint import Checkpoint, open_checkpoint
from deltareg.trail.leaves import encode_leaf
from deltareg.trail.merkle import Frontier
from tests.trail.logs import ADMIN, KEYS, SERVER, fill, seal_all

# The example of golang.org/x/mod/sumdb/note, which defined the form.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngo"
    "tpRZb6KE6RyyBwJnAM=\n"
)
HEAD = Checkpoint("deltareg/x", 7, b"\5" * 32)


def oracle(key, name):
    """Give sigstore's keyring with a key, and how a note names it."""
    der = Ed25519PublicKey.from_public_bytes(key.raw).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    details = common.PublicKeyDetails.PKIX_ED25519
    ring = Keyring([common.PublicKey(raw_bytes=base64.b64encode(der), key_details=details)])
    return ring, key_hash(name, key)


def entry(note, *, root, named):
    """Say a checkpoint, with what it has to sign, as a bundle of sigstore says it."""
    proof = SimpleNamespace(checkpoint=SimpleNamespace(envelope=note), root_hash=root)
    inner = SimpleNamespace(inclusion_proof=proof, log_id=SimpleNamespace(key_id=named))
    return SimpleNamespace(_inner=inner)


def test_the_note_of_go_is_read_and_its_key_named_as_go_names_it():
    key = PublicKey(base64.b64decode(GO_KEY.rpartition("+")[2])[1:])

    opened = open_note(GO_NOTE, [key], name="PeterNeumann")

    assert opened.text == GO_NOTE.partition("\n\n")[0] + "\n"
    assert key_hash("PeterNeumann", key).hex() == GO_KEY.split("+")[1]


def test_another_verifier_takes_what_we_sign():
    note = HEAD.sign(SERVER)
    ring, named = oracle(SERVER.public, HEAD.origin)

    verify_checkpoint(ring, entry(note, root=HEAD.root, named=named))

    assert open_checkpoint(note, KEYS, origin=HEAD.origin).checkpoint == HEAD


def test_what_anybody_changes_in_a_note_is_refused():
    """By us; sigstore's verifier, which reads base64 less strictly, takes no other text either."""
    note = HEAD.sign(SERVER)
    ring, named = oracle(SERVER.public, HEAD.origin)
    draw = random.Random(3)
    for _ in range(200):
        place = draw.randrange(len(note))
        other = draw.choice([c for c in "aZ09+/= \n\u2014" if c != note[place]])
        changed = draw.choice(
            [
                note[:place] + other + note[place + 1 :],
                note[:place] + note[place + 1 :],
                note[:place] + other + note[place:],
                note[:place],
            ]
        )

        with pytest.raises(BadSignature):
            open_checkpoint(changed, KEYS, origin=HEAD.origin)
        if not changed.startswith(HEAD.text()):
            with pytest.raises((VerificationError, ValueError)):
                verify_checkpoint(ring, entry(changed, root=HEAD.root, named=named))


def test_a_proof_of_the_registry_is_one_to_another_verifier(sqlite_engine):
    registry = Registry(sqlite_engine, MemoryStore(), signer=SERVER)
    fill(registry, 300)
    seal_all(registry)

    told = prove_row(registry, ADMIN, 257)

    ring, named = oracle(SERVER.public, told.checkpoint.origin)
    root = bytes.fromhex(told.checkpoint.root)
    verify_checkpoint(ring, entry(told.checkpoint.note, root=root, named=named))
    proof = SimpleNamespace(
        log_index=told.position,
        tree_size=told.checkpoint.size,
        root_hash=root,
        hashes=[bytes.fromhex(each) for each in told.hashes],
    )
    body = encode_leaf(told.leaf)
    inner = SimpleNamespace(inclusion_proof=proof, canonicalized_body=body)
    verify_merkle_inclusion(SimpleNamespace(_inner=inner))  # type: ignore[arg-type]  # a bundle's


@pytest.mark.parametrize(
    "text",
    [
        "deltareg/x\n07\n" + "A" * 43 + "=\n",
        "deltareg/x\n-1\n" + "A" * 43 + "=\n",
        "deltareg/x\n7\nAAAA\n",
        "deltareg/x\n7\n",
        "\n7\n" + "A" * 43 + "=\n",
        "deltareg/x\n7\n" + "A" * 42 + "B=\n",
    ],
)
def test_what_is_signed_and_no_checkpoint_is_refused(text):
    name = text.partition("\n")[0] or "x"

    with pytest.raises(BadSignature):
        open_checkpoint(sign_note(text, SERVER, name=name), KEYS)


def test_signatures_of_others_below_a_note_are_left_alone():
    witness = SigningKey.of_seed(b"\3" * 32)
    note, other = HEAD.sign(SERVER), HEAD.sign(witness)
    line = other.rpartition("\n\n")[2]

    assert open_checkpoint(note + line, KEYS).checkpoint == HEAD
    with pytest.raises(BadSignature, match="no key that is trusted"):
        open_checkpoint(other, KEYS)


def test_the_empty_log_can_be_signed():
    head = Checkpoint("deltareg/x", 0, Frontier().root())

    assert open_checkpoint(head.sign(SERVER), KEYS).checkpoint == head
