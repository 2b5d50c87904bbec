"""Signatures and attestations as they come in, and what a channel asks of them."""

import json
from hashlib import sha256

import pytest
import sqlalchemy as sa

from deltareg.client.trust.signers import parse_signers
from deltareg.db import tables as t
from deltareg.db.lines import deltas, versions
from deltareg.db.session import write
from deltareg.db.sql.document import pack_documents
from deltareg.digest import Digest, sha256_of
from deltareg.errors import BadSignature, Blocked, Conflict, Forbidden, InvalidInput, NotFound
from deltareg.identity.manifest import Manifest, ManifestFile, Piece
from deltareg.refs import LineRef, Ref
from deltareg.service.channels.channels import create_channel
from deltareg.service.channels.gate import check_gate
from deltareg.service.channels.policies import set_policy
from deltareg.service.lines import referrers as service
from deltareg.service.lines.referrers import add_referrer, list_referrers, revoke_signer, show_referrer
from deltareg.service.lines.versions import delete_version, list_versions, show_version
from deltareg.service.registry import Registry
from deltareg.signing.making import SigningCredentials, sign_files
from deltareg.signing.signed_files import folder_root
from deltareg.store.memory import MemoryStore
from deltareg.wire import PolicySet, ReferrerAdd, SignerRevoke
from tests.service import rows
from tests.signed_deltas import attestation, bundle, certificate_files, changed, library, public, rooted

REF = Ref.parse("lab/x:v1")
PROD = LineRef("lab", "x"), "prod"
# What is a rule of ours is the same on both; the rest asks for what the databases do.
ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def registry(engine):
    rows.base(engine)
    return Registry(engine, MemoryStore())


@pytest.fixture
def ada(engine):
    return rows.caller(engine)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("signed")


@pytest.fixture
def version(registry, ada):
    """Make a version with files, on a line with a channel."""
    rows.line(registry.engine, maker=ada)
    create_channel(registry, ada, *PROD)
    return add_version(registry, "one")


def files(text):
    content = {"adapter_config.json": b"{}", "adapter_model.safetensors": text.encode()}
    return {path: sha256(data).hexdigest() for path, data in content.items()}


def add_version(registry, text):
    """Add a version whose weights are a text; gives its manifest."""
    part = Piece(Digest("blake3", "0" * 64), "U8", (1,), 1)
    listed = tuple(
        ManifestFile(path, 1, Digest("sha256", digest), part, path.endswith(".safetensors"))
        for path, digest in files(text).items()
    )
    manifest = Manifest("lora", "", True, Digest.parse(rows.BASE_ROOT), {}, (), listed)
    raw = manifest.encode()
    with write(registry.engine) as conn:
        line = rows.delta_id(conn, "x")
        versions.add_version(
            conn,
            pack_documents(raw, b"{}"),
            delta_id=line,
            number=deltas.take_number(conn, line),
            manifest_digest=str(sha256_of(raw)),
            kind="lora",
            variant="",
            foldable=True,
            base_root=rows.BASE_ROOT,
            base_id=None,
            labels={},
            logical_bytes=1,
            stored_bytes=1,
            uploaded_bytes=1,
            proven_at=1,
            proven_revision=1,
        )
    return manifest


def signed(registry, caller, place, who, text="one", *, ref=REF):
    """Let somebody's signature of a version be brought."""
    raw = bundle(place, who, files(text)).decode()
    added = ReferrerAdd(form="signature", body=raw, public=public(who).pem)
    return add_referrer(registry, caller, ref, added)


def attested(registry, caller, raw, who, *, ref=REF):
    added = ReferrerAdd(form="attestation", body=raw.decode(), public=public(who).pem)
    return add_referrer(registry, caller, ref, added)


def unmet(registry, caller, ref=REF):
    return {rule.rule: rule for rule in check_gate(registry, caller, ref, "prod").unmet if rule.rule == "signature"}


def ask(registry, *terms):
    """Let prod ask for signatures."""
    with write(registry.engine) as conn:
        policy = {"suites": ["smoke"], "signatures": list(terms)}
        conn.execute(sa.update(t.channels).values(policy=policy))


def test_a_signature_is_kept_shown_and_given_back_as_it_came(registry, ada, version, place):
    added = signed(registry, ada, place, "ana")

    assert (added.keyid, added.created_by) == (public("ana").keyid, "ada")
    given = show_referrer(registry, ada, REF, added.digest)
    assert f"sha256:{sha256(given.body.encode()).hexdigest()}" == added.digest
    assert given.public == public("ana").pem
    shown = show_version(registry, ada, REF, bare="newest")
    listed = list_versions(registry, ada, REF.line, cursor=None, limit=5)
    assert shown.signatures == listed.items[0].signatures == [added]
    again = add_referrer(registry, ada, REF, ReferrerAdd(form="signature", body=given.body, public=given.public))
    assert again == added
    assert len(list_referrers(registry, ada, REF).items) == 1


@ONE_DATABASE
def test_a_signature_of_another_version_is_refused(registry, ada, version, place):
    with pytest.raises(BadSignature, match=r"adapter_model.safetensors is signed as another"):
        signed(registry, ada, place, "ana", "two")

    add_version(registry, "two")
    signed(registry, ada, place, "ana", "two", ref=Ref.parse("lab/x:v2"))
    assert list_referrers(registry, ada, REF).items == []


@ONE_DATABASE
@pytest.mark.parametrize("change", ["payload", "signature", "hint", "drop", "add", "path", "key"])
def test_what_was_changed_is_refused_and_leaves_nothing(registry, ada, version, place, change):
    raw, who = bundle(place, "ana", files("one")), "ana"
    fields = json.loads(raw)
    if change == "payload":
        raw = changed(raw, lambda payload: payload["subject"][0].update(name="x"))
    elif change == "signature":
        fields["dsseEnvelope"]["signatures"][0]["sig"] = "MEUCIQDx"
        raw = json.dumps(fields).encode()
    elif change == "hint":
        fields["verificationMaterial"]["publicKey"]["hint"] = public("eve").keyid
        raw = json.dumps(fields).encode()
    elif change == "key":
        who = "eve"
    else:
        raw = changed(raw, CHANGES[change], signer="ana")

    with pytest.raises(BadSignature):
        add_referrer(registry, ada, REF, ReferrerAdd(form="signature", body=raw.decode(), public=public(who).pem))

    assert list_referrers(registry, ada, REF).items == []


def _drop(payload):
    payload["predicate"]["resources"].pop()
    rooted(payload)


def _add(payload):
    more = {"name": "x.py", "algorithm": "sha256", "digest": "ab" * 32}
    payload["predicate"]["resources"].append(more)
    rooted(payload)


def _path(payload):
    payload["predicate"]["resources"][0]["name"] = "../adapter_config.json"
    rooted(payload)


CHANGES = {"drop": _drop, "add": _add, "path": _path}


@ONE_DATABASE
def test_a_key_is_asked_for_and_huge_bundles_are_not_read(registry, ada, version, place):
    raw = bundle(place, "ana", files("one")).decode()

    with pytest.raises(InvalidInput, match="verified with its public half"):
        add_referrer(registry, ada, REF, ReferrerAdd(form="signature", body=raw))
    with pytest.raises(ValueError, match="at most 1048576 characters"):
        ReferrerAdd(form="signature", body=" " * ((1 << 20) + 1))


@ONE_DATABASE
def test_the_gate_asks_for_who_the_policy_names(registry, ada, version, place):
    ask(registry, {"key": public("ana").keyid})

    found = unmet(registry, ada)["signature"]
    assert found.message == f"lab/x:v1 is not signed by key {public('ana').keyid[:12]}"
    assert "deltareg push PATH lab/x --sign KEY" in found.fix
    assert "deltareg signature add lab/x:v1 FILE --key PUB" in found.fix
    signed(registry, ada, place, "eve")
    assert unmet(registry, ada)
    signed(registry, ada, place, "ana")
    assert unmet(registry, ada) == {}


@ONE_DATABASE
def test_each_term_must_be_met_and_any_of_several_meets_one(registry, ada, version, place):
    ana, eve, bo = (public(name).keyid for name in ("ana", "eve", "bo"))
    ask(registry, {"key": ana}, {"any": [{"key": eve}, {"key": bo}]})

    signed(registry, ada, place, "bo")
    assert unmet(registry, ada)["signature"].message.endswith(f"key {ana[:12]}")
    signed(registry, ada, place, "ana")

    assert unmet(registry, ada) == {}


def test_a_revoked_key_counts_no_more_and_signs_nothing_new(registry, ada, version, place):
    ask(registry, {"key": public("ana").keyid})
    signed(registry, ada, place, "ana")
    assert unmet(registry, ada) == {}

    revoke_signer(registry, ada, public("ana").keyid, SignerRevoke(reason="stolen"))

    assert "is revoked: stolen" in unmet(registry, ada)["signature"].message
    assert show_version(registry, ada, REF, bare="newest").signatures[0].revoked == "stolen"
    add_version(registry, "two")
    with pytest.raises(BadSignature, match="is revoked: stolen"):
        signed(registry, ada, place, "ana", "two", ref=Ref.parse("lab/x:v2"))
    assert list_referrers(registry, ada, Ref.parse("lab/x:v2")).items == []


@ONE_DATABASE
def test_a_certificate_counts_for_its_name_and_authority(registry, ada, version, place):
    library()
    key, cert, root = certificate_files(place, "release", "authority")
    raw = sign_files("delta", files("one"), SigningCredentials(key, cert, (root,))).decode()

    added = add_referrer(registry, ada, REF, ReferrerAdd(form="signature", body=raw))

    assert added.identity == "release@example.org"
    for term, is_met in (
        ({"ca": added.ca, "identity": "release@example.org"}, True),
        ({"ca": added.ca}, True),
        ({"ca": added.ca, "identity": "eve@example.org"}, False),
        ({"ca": "ab" * 32, "identity": "release@example.org"}, False),
        ({"issuer": "https://example.org", "identity": "release@example.org"}, False),
    ):
        ask(registry, term)
        assert (unmet(registry, ada) == {}) is is_met, term
    ask(registry, {"ca": added.ca})
    revoke_signer(registry, ada, added.ca, SignerRevoke(reason="broken into"))
    assert "is revoked: broken into" in unmet(registry, ada)["signature"].message


@ONE_DATABASE
def test_the_authority_may_come_beside_a_bundle_that_lacks_it(registry, ada, version, place):
    library()
    key, cert, root = certificate_files(place, "release", "authority")
    fields = json.loads(sign_files("delta", files("one"), SigningCredentials(key, cert, (root,))))
    fields["verificationMaterial"]["x509CertificateChain"]["certificates"].pop()
    raw = json.dumps(fields)
    other = certificate_files(place, "somebody", "another authority")[2]

    for given, words in (("", "ends before the authority's own"), (other.read_text(), "lead up")):
        with pytest.raises(BadSignature, match=words):
            add_referrer(registry, ada, REF, ReferrerAdd(form="signature", body=raw, public=given))
    added = add_referrer(registry, ada, REF, ReferrerAdd(form="signature", body=raw, public=root.read_text()))

    assert added.identity == "release@example.org"
    kept = show_referrer(registry, ada, REF, added.digest)
    (signer,) = parse_signers([f"ca:{added.ca}#release@example.org"])
    assert signer.opens(kept.body.encode(), public=kept.public).signatory.ca == added.ca


@ONE_DATABASE
def test_an_expired_certificate_signs_nothing(registry, ada, version, place):
    library()
    key, cert, root = certificate_files(place, "late", "authority", age=9, days=-1)
    raw = sign_files("delta", files("one"), SigningCredentials(key, cert, (root,))).decode()

    with pytest.raises(BadSignature, match="not valid at validation time"):
        add_referrer(registry, ada, REF, ReferrerAdd(form="signature", body=raw))


@ONE_DATABASE
def test_a_keyless_signature_is_refused_where_no_sigstore_is_trusted(registry, ada, version, place):
    fields = json.loads(bundle(place, "ana", files("one")))
    fields["verificationMaterial"] = {"certificate": {"rawBytes": "AAAA"}, "tlogEntries": []}
    added = ReferrerAdd(form="signature", body=json.dumps(fields))

    with pytest.raises(InvalidInput, match="trusts no Sigstore") as refused:
        add_referrer(registry, ada, REF, added)

    assert "DELTAREG_SIGSTORE_TRUST" in refused.value.fix


def test_nothing_is_stripped_or_changed(registry, ada, version, place):
    signed(registry, ada, place, "ana")
    revoke_signer(registry, ada, "ab" * 32, SignerRevoke(reason="x"))

    for change in (
        sa.delete(t.referrers),
        sa.update(t.referrers).values(keyid="ab" * 32),
        sa.delete(t.revoked_signers),
        sa.update(t.revoked_signers).values(reason="y"),
    ):
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), write(registry.engine) as conn:
            conn.execute(change)


@ONE_DATABASE
def test_who_may_not_push_signs_nothing_and_what_is_hidden_is_not_found(registry, ada, version, place):
    added = signed(registry, ada, place, "ana")
    reader = rows.caller(registry.engine, "bob", scopes={"read"})
    nobody = rows.caller(registry.engine, "eve", scopes=set())

    with pytest.raises(Forbidden):
        signed(registry, reader, place, "eve")
    with pytest.raises(Forbidden):
        revoke_signer(registry, reader, added.keyid, SignerRevoke(reason="x"))
    for asks in (
        lambda: list_referrers(registry, nobody, REF),
        lambda: show_referrer(registry, nobody, REF, added.digest),
    ):
        with pytest.raises((Forbidden, NotFound)):
            asks()
    with pytest.raises(NotFound):
        show_referrer(registry, ada, REF, "sha256:" + "0" * 64)


@ONE_DATABASE
def test_only_who_keeps_the_policy_says_who_must_have_signed(registry, ada, version):
    wanted = {"suites": ["smoke"], "signatures": [{"key": public("eve").keyid}]}
    pusher = rows.caller(registry.engine, "bob", scopes={"read", "push", "promote"})

    with pytest.raises(Forbidden):
        set_policy(registry, pusher, *PROD, PolicySet(policy=wanted), is_seen=lambda _digest: True)


def test_a_deleted_version_takes_nothing_and_no_version_takes_everything(registry, ada, version, place, monkeypatch):
    monkeypatch.setattr(service, "MOST", 2)
    for who in ("ana", "eve"):
        signed(registry, ada, place, who)

    with pytest.raises(Conflict, match="2 things are signed"):
        signed(registry, ada, place, "bo")
    delete_version(registry, ada, REF)
    with pytest.raises(Blocked, match="is deleted"):
        signed(registry, ada, place, "ana")


@ONE_DATABASE
def test_others_cannot_fill_the_room_of_whose_version_it_is(registry, ada, version, place, monkeypatch):
    monkeypatch.setattr(service, "OF_OTHERS", 2)
    pusher = rows.caller(registry.engine, "bob", scopes={"read", "push"})
    for who in ("ana", "eve"):
        signed(registry, pusher, place, who)

    with pytest.raises(Conflict, match="the rest is for whose version it is"):
        signed(registry, pusher, place, "bo")
    added = signed(registry, ada, place, "bo")

    assert added.digest in {one.digest for one in list_referrers(registry, pusher, REF).items}


@ONE_DATABASE
def test_an_attestation_about_the_version_is_kept(registry, ada, version):
    weights = files("one")["adapter_model.safetensors"]
    for subjects in (
        {"adapter": weights},
        {"lab/x": version.digest.hex},
        {"folder": folder_root(files("one"))},
        {"adapter": weights, "config": files("one")["adapter_config.json"]},
    ):
        added = attested(registry, ada, attestation("builder", subjects), "builder")
        assert added.predicate_type == "https://slsa.dev/provenance/v1"

    assert len(list_referrers(registry, ada, REF).items) == 4
    assert show_version(registry, ada, REF, bare="newest").signatures == []


@ONE_DATABASE
@pytest.mark.parametrize(
    ("subjects", "fields"),
    [
        ({"adapter": files("two")["adapter_model.safetensors"]}, {}),
        ({"config": files("one")["adapter_config.json"]}, {}),
        ({"a": files("one")["adapter_model.safetensors"], "b": "ab" * 32}, {}),
        ({}, {}),
        ({"a": "AB" * 32}, {}),
        ({"a": "ab" * 20}, {}),
        ({"a": files("one")["adapter_model.safetensors"]}, {"more": 1}),
        ({"a": files("one")["adapter_model.safetensors"]}, {"predicate": 7}),
        ({"a": files("one")["adapter_model.safetensors"]}, {"_type": "x"}),
        ({"a": files("one")["adapter_model.safetensors"]}, {"predicateType": "https://model_signing/signature/v1.0"}),
    ],
)
def test_an_attestation_about_something_else_is_refused(registry, ada, version, subjects, fields):
    with pytest.raises(BadSignature):
        attested(registry, ada, attestation("builder", subjects, **fields), "builder")

    assert list_referrers(registry, ada, REF).items == []


@ONE_DATABASE
def test_an_attestation_by_another_key_or_that_was_changed_is_refused(registry, ada, version):
    raw = attestation("builder", {"lab/x": version.digest.hex})

    with pytest.raises(BadSignature, match="has not signed these bytes"):
        attested(registry, ada, raw, "eve")
    with pytest.raises(BadSignature):
        attested(registry, ada, raw.replace(b"payloadType", b"payloadtype"), "builder")
    fields = json.loads(raw)
    fields["payloadType"] = "text/plain"
    with pytest.raises(BadSignature, match="was signed as 'text/plain'"):
        attested(registry, ada, json.dumps(fields).encode(), "builder")
    with pytest.raises(BadSignature, match="comes in a bundle"):
        add_referrer(registry, ada, REF, ReferrerAdd(form="signature", body=raw.decode(), public=public("builder").pem))


@ONE_DATABASE
def test_what_is_attested_counts_for_no_signature(registry, ada, version):
    ask(registry, {"key": public("builder").keyid})

    attested(registry, ada, attestation("builder", {"x": version.digest.hex}), "builder")

    assert unmet(registry, ada)
