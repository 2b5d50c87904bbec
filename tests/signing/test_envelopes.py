"""Envelopes and statements: what was signed comes out, and nothing that was changed since."""

import base64
import json
import random
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement as ForeignStatement

from deltareg.errors import BadSignature
from deltareg.signing.envelopes import open_envelope, seal, signer_of
from deltareg.signing.signed_statements import open_statement, sign_statement
from deltareg.signing.statement import PAYLOAD_TYPE, Statement, encode_statement
from tests.signers import key_of

KEY, OTHER = key_of("gpu-1"), key_of("gpu-2")
KEYS = {KEY.keyid: KEY.public, OTHER.keyid: OTHER.public}
KIND = "urn:deltareg:attestation:verdict:v1"
STATEMENT = Statement("me/chat:v3", "ab" * 32, KIND, {"verdict": "pass", "seed": 7, "value": 0.1})
MUTANTS = 240


@pytest.fixture(scope="module")
def sealed():
    return sign_statement(STATEMENT, KEY)


def test_what_was_signed_comes_out_with_who_signed_it(sealed):
    found = open_statement(sealed, KEYS, predicate_type=KIND)

    assert found.statement == STATEMENT
    assert found.keyid == signer_of(sealed) == KEY.keyid


def test_a_key_that_is_not_trusted_shows_nothing(sealed):
    with pytest.raises(BadSignature, match="nobody who is trusted has the key"):
        open_statement(sealed, {OTHER.keyid: OTHER.public}, predicate_type=KIND)


def test_another_key_under_the_same_name_shows_nothing(sealed):
    with pytest.raises(BadSignature, match="does not hold"):
        open_envelope(sealed, {KEY.keyid: OTHER.public}, payload_type=PAYLOAD_TYPE)


def test_a_statement_of_another_kind_is_none_of_this_kind(sealed):
    with pytest.raises(BadSignature, match="is of type 'urn:deltareg"):
        open_statement(sealed, KEYS, predicate_type="urn:other")


def test_what_was_signed_as_another_type_is_no_statement():
    sealed = seal(encode_statement(STATEMENT), KEY, payload_type="text/plain")

    with pytest.raises(BadSignature, match="of type 'text/plain'"):
        open_statement(sealed, KEYS, predicate_type=KIND)


@pytest.mark.parametrize(
    "payload",
    [
        encode_statement(STATEMENT).replace(b'"seed":7', b'"seed":7,"seed":8'),
        encode_statement(STATEMENT).replace(b'{"_type"', b'{"_type":"x","_type"'),
        encode_statement(STATEMENT).replace(b"Statement/v1", b"Statement/v2"),
        encode_statement(STATEMENT).replace(b'"_type"', b'"kind"'),
        encode_statement(STATEMENT).replace(b"abab", b"ABab", 1),
        encode_statement(STATEMENT).replace(b'"sha256"', b'"sha512"'),
        encode_statement(STATEMENT)[:-1] + b',"more":1}',
        b"[]",
        b"{}",
        b"",
        b"\xff",
        b'{"a":NaN}',
    ],
)
def test_a_payload_that_is_no_statement_is_refused_though_it_is_signed(payload):
    sealed = seal(payload, KEY, payload_type=PAYLOAD_TYPE)

    with pytest.raises(BadSignature):
        open_statement(sealed, KEYS, predicate_type=KIND)


def test_two_signatures_of_one_key_or_of_two_are_refused(sealed):
    envelope = json.loads(sealed)
    (own,) = envelope["signatures"]
    (foreign,) = json.loads(sign_statement(STATEMENT, OTHER))["signatures"]

    for signatures in ([own, own], [own, foreign], [foreign, own], []):
        changed = json.dumps(envelope | {"signatures": signatures}).encode()
        with pytest.raises(BadSignature, match="one signature"):
            open_statement(changed, KEYS, predicate_type=KIND)


def test_every_mutation_of_an_envelope_is_refused(sealed, figures):
    chosen = random.Random(20261127)  # a mutation, no secret
    refused = 0

    for number in range(MUTANTS):
        changed = mutated(sealed, MUTATIONS[number % len(MUTATIONS)], chosen)
        assert changed != sealed
        with pytest.raises(BadSignature):
            open_statement(changed, KEYS, predicate_type=KIND)
        refused += 1

    figures("mutated envelopes refused", f"{refused} of {MUTANTS}")


def mutated(sealed, how, chosen):
    """Change an envelope in one of its parts."""
    envelope = json.loads(sealed)
    how(envelope, envelope["signatures"][0], chosen)
    return json.dumps(envelope).encode()


def flip(text, chosen):
    raw = bytearray(base64.b64decode(text))
    raw[chosen.randrange(len(raw))] ^= 1 << chosen.randrange(8)
    return base64.b64encode(raw).decode()


def flip_payload(envelope, _, chosen):
    envelope["payload"] = flip(envelope["payload"], chosen)


def flip_signature(_, signature, chosen):
    signature["sig"] = flip(signature["sig"], chosen)


def cut_payload(envelope, _, chosen):
    raw = base64.b64decode(envelope["payload"])
    envelope["payload"] = base64.b64encode(raw[: chosen.randrange(len(raw))]).decode()


def cut_signature(_, signature, chosen):
    raw = base64.b64decode(signature["sig"])
    signature["sig"] = base64.b64encode(raw[: chosen.randrange(len(raw))]).decode()


def grow_payload(envelope, _, chosen):
    raw = base64.b64decode(envelope["payload"])
    envelope["payload"] = base64.b64encode(raw + chosen.randbytes(3)).decode()


def respell(envelope, signature, chosen):
    """Spell base64 otherwise: without padding, for URLs, with something around it."""
    holder, key = chosen.choice([(envelope, "payload"), (signature, "sig")])
    text = holder[key]
    changed = text.rstrip("=").replace("+", "-").replace("/", "_")
    at = chosen.randrange(len(text))
    holder[key] = chosen.choice([f"{text}=", f"{text}\n", f" {text}", text[:at] + "*" + text[at:]])
    if changed != text and chosen.random() < 0.5:
        holder[key] = changed


def retype(envelope, _, chosen):
    types = ("application/json", "text/plain", PAYLOAD_TYPE.upper(), f"{PAYLOAD_TYPE} ", "")
    envelope["payloadType"] = chosen.choice(types)


def rename_key(_, signature, chosen):
    names = (OTHER.keyid, KEY.keyid.upper(), KEY.keyid[:-1], "", f"{KEY.keyid[:-1]}x")
    signature["keyid"] = chosen.choice(names)


def add_field(envelope, signature, chosen):
    chosen.choice([envelope, signature])[chosen.choice(["more", "Payload", "alg"])] = "x"


def lose_field(envelope, signature, chosen):
    holder = chosen.choice([envelope, signature])
    del holder[chosen.choice(sorted(holder))]


def change_shape(envelope, signature, chosen):
    holder = chosen.choice([envelope, signature])
    holder[chosen.choice(sorted(holder))] = chosen.choice([None, 1, [], {}, True])


def sign_by_another(envelope, signature, _):
    other = json.loads(sign_statement(STATEMENT, OTHER))
    signature["sig"] = other["signatures"][0]["sig"]


def say_another_thing(envelope, _, chosen):
    said = chosen.choice([b'"pass"', b"me/chat:v3", b'"seed":7', b"abab"])
    raw = base64.b64decode(envelope["payload"])
    envelope["payload"] = base64.b64encode(raw.replace(said, said[::-1], 1)).decode()


MUTATIONS = [
    flip_payload,
    flip_signature,
    cut_payload,
    cut_signature,
    grow_payload,
    respell,
    retype,
    rename_key,
    add_field,
    lose_field,
    change_shape,
    sign_by_another,
    say_another_thing,
]

FOREIGN = """
import json, sys
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
given = json.load(sys.stdin)
key = SSlibKey(given["keyid"], "ed25519", "ed25519", {"public": given["public"]})
found = Envelope.from_dict(given["envelope"])
assert list(found.verify([key], 1)) == [given["keyid"]]
print(found.payload.decode(), end="")
"""


def test_securesystemslib_verifies_it_in_a_process_of_its_own(sealed):
    given = {"envelope": json.loads(sealed), "keyid": KEY.keyid, "public": KEY.public.raw.hex()}

    done = subprocess.run(
        [sys.executable, "-c", FOREIGN], input=json.dumps(given), capture_output=True, text=True, check=True
    )

    assert done.stdout.encode() == encode_statement(STATEMENT)


def test_in_toto_reads_the_statement(sealed):
    payload = base64.b64decode(json.loads(sealed)["payload"])

    found = ForeignStatement.copy_from_pb(json_format.Parse(payload, statement_pb2.Statement()))

    found.validate()
    assert found.pb.predicate_type == KIND
    assert dict(found.pb.subject[0].digest) == {"sha256": STATEMENT.sha256}


def test_the_signature_is_one_of_ed25519_over_the_encoding_of_dsse(sealed):
    envelope = json.loads(sealed)
    payload = base64.b64decode(envelope["payload"])
    kind = PAYLOAD_TYPE.encode()
    encoded = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)

    Ed25519PublicKey.from_public_bytes(KEY.public.raw).verify(
        base64.b64decode(envelope["signatures"][0]["sig"]), encoded
    )
