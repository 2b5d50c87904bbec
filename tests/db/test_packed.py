"""Envelopes and checks beside a known text: what is given out again is what was stored, bit for bit."""

import base64
import json
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from deltareg.db.session import write
from deltareg.db.sql import known_text
from deltareg.db.sql.envelope import pack_envelope, unpack_envelope
from deltareg.db.sql.packed_json import ChecksColumn, PackedObjectColumn, pack_checks, unpack_checks
from deltareg.errors import IntegrityFailure
from deltareg.signing.envelopes import open_envelope, seal
from deltareg.signing.keys import PublicKey, SigningKey
from deltareg.signing.statement import PAYLOAD_TYPE

GOLDEN = json.loads(Path(__file__).with_name("packed.json").read_text())
KEY = SigningKey.of_seed(bytes(32))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


def test_the_known_text_is_the_one_that_rows_were_packed_with():
    text = Path(known_text.__file__).with_name("known_text_1.txt").read_bytes()

    assert sha256(text).hexdigest() == "f38edc90cea7a5b410672b772f6fb022b7618e014e5ec0a5b566608ffbd008da"


@pytest.mark.parametrize("table", GOLDEN["envelopes"])
def test_what_was_packed_once_is_read_and_its_signature_holds(table):
    golden = GOLDEN["envelopes"][table]
    public = PublicKey.parse(GOLDEN["public"])
    packed = base64.b64decode(golden["packed"])

    body = unpack_envelope(packed)

    assert body == golden["body"].encode()
    assert unpack_envelope(pack_envelope(body)) == body
    assert 3 * len(packed) < len(body)
    assert open_envelope(body, {public.keyid: public}, payload_type=PAYLOAD_TYPE).keyid == public.keyid


def test_checks_that_were_packed_once_are_read_and_sql_sees_what_failed():
    packed = GOLDEN["packed_checks"]

    assert unpack_checks(packed) == unpack_checks(pack_checks(GOLDEN["checks"])) == GOLDEN["checks"]
    assert packed[:-1] == [{"name": "rows", "verdict": "warn"}, {"name": "effect", "verdict": "fail"}]
    assert 8 * len(json.dumps(packed)) < len(json.dumps(GOLDEN["checks"]))


@settings(max_examples=25)
@given(payload=st.binary(), kind=st.text())
def test_an_envelope_is_given_out_as_it_was_sealed(payload, kind):
    body = seal(payload, KEY, payload_type=kind)

    assert unpack_envelope(pack_envelope(body)) == body


@settings(max_examples=25)
@given(body=st.binary())
def test_any_bytes_come_back(body):
    assert unpack_envelope(pack_envelope(body)) == body


@pytest.mark.parametrize("change", [lambda b: b" " + b, lambda b: b.replace(b'":"', b'": "'), lambda b: b[:-1] + b",}"])
def test_an_envelope_in_another_spelling_comes_back_as_it_came(change):
    body = change(seal(b"x" * 500, KEY, payload_type=PAYLOAD_TYPE))

    assert unpack_envelope(pack_envelope(body)) == body


@settings(max_examples=25)
@given(checks=st.lists(st.fixed_dictionaries({"name": st.text(), "verdict": st.text(), "detail": JSON})))
def test_checks_come_back_in_their_order(checks):
    assert json.dumps(unpack_checks(pack_checks(checks))) == json.dumps(checks)


@settings(max_examples=25)
@given(value=st.dictionaries(st.text(), JSON))
def test_objects_come_back_in_their_order(value):
    column, dialect = PackedObjectColumn(), sqlite.dialect()

    stored = json.loads(json.dumps(column.process_bind_param(value, dialect)))

    assert json.dumps(column.process_result_value(stored, dialect)) == json.dumps(value)


@settings(max_examples=25)
@given(at=st.integers(min_value=1), bit=st.integers(0, 7))
def test_a_changed_byte_is_refused_or_changes_nothing(at, bit):
    body = GOLDEN["envelopes"]["summaries"]["body"].encode()
    stored = bytearray(pack_envelope(body))
    stored[1 + at % (len(stored) - 1)] ^= 1 << bit

    with suppress(IntegrityFailure):  # some bits of a frame mean nothing
        assert unpack_envelope(bytes(stored)) == body


def test_what_a_later_release_packed_is_refused_by_name():
    with pytest.raises(IntegrityFailure, match="a later release"):
        unpack_envelope(b"\x02" + pack_envelope(GOLDEN["envelopes"]["summaries"]["body"].encode())[1:])


def test_both_databases_give_back_what_was_packed(engine):
    table = sa.Table(
        "packed", sa.MetaData(), sa.Column("checks", ChecksColumn), sa.Column("environment", PackedObjectColumn)
    )
    environment = {"torch": "2.13.0+cpu", "device": "cpu", "a": "ü" * 300}
    with write(engine) as conn:
        table.create(conn)
        conn.execute(sa.insert(table), [{"checks": GOLDEN["checks"], "environment": environment}])
        (found,) = conn.execute(sa.select(table)).all()
        as_text = conn.execute(sa.select(sa.cast(table.c.checks, sa.Text()))).scalar_one()

    assert json.dumps(list(found.checks)) == json.dumps(GOLDEN["checks"])
    assert json.dumps(found.environment) == json.dumps(environment)
    assert '"verdict": "warn"' in as_text
