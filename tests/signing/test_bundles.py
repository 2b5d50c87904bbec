"""Signature bundles: what model-signing makes is opened, and nothing that was changed since."""

import base64
import json
import random
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import hashes

from deltareg.errors import BadSignature, InvalidInput, Misconfigured, Unavailable
from deltareg.signing.bundles import MEDIA_TYPE, MOST_BYTES, read_bundle
from deltareg.signing.keyless import open_keyless
from deltareg.signing.making import SigningCredentials, sign_files
from deltareg.signing.opening import load_authorities, open_by_chain, open_by_key
from deltareg.signing.pem_keys import PemKey
from deltareg.signing.signed_files import check_files, folder_root, read_signed_files
from tests.signed_deltas import bundle, certificate, certificate_files, changed, key_files, library, public, rooted

CONTENT = {"adapter_config.json": b"{}", "sub/README.md": b"hello", "a-b/x.txt": b"1"}
FILES = {path: sha256(data).hexdigest() for path, data in CONTENT.items()}
MUTANTS = 200
SOAKED = 5_000
ODD_CERTIFICATES = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("signed")


@pytest.fixture(scope="module")
def signed(place):
    return bundle(place, "ana", FILES)


@pytest.fixture(scope="module")
def certified(place):
    library()
    key, cert, root = certificate_files(place, "release", "authority")
    return sign_files("delta", FILES, SigningCredentials(key, cert, (root,))), root


@pytest.fixture
def folder(tmp_path):
    for path, data in CONTENT.items():
        (tmp_path / "delta" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "delta" / path).write_bytes(data)
    return tmp_path / "delta"


def opened(raw, who="ana"):
    return read_signed_files(open_by_key(read_bundle(raw), public(who)).payload)


def test_what_we_sign_is_verified_by_model_signing_itself(signed, place, folder):
    verifying = library()
    (folder / "model.sig").write_bytes(signed)
    _, pub = key_files(place, "ana")

    from model_signing import hashing

    ignoring = hashing.Config().set_ignored_paths(paths=[folder / "model.sig"])
    config = verifying.Config().use_elliptic_key_verifier(public_key=pub)
    config.set_hashing_config(ignoring).verify(folder, folder / "model.sig")

    assert opened(signed) == FILES
    (folder / "sub" / "README.md").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"Hash mismatch for 'sub/README.md'"):
        config.verify(folder, folder / "model.sig")


def test_what_model_signing_signs_over_a_folder_is_opened_here(place, folder):
    library()
    from model_signing import signing

    key, _ = key_files(place, "ana")
    signing.Config().use_elliptic_key_signer(private_key=key).sign(folder, place / "own.sig")

    assert opened((place / "own.sig").read_bytes()) == FILES


def test_a_certificate_is_held_up_to_its_authority(certified, folder):
    verifying = library()
    raw, root = certified
    (folder.parent / "c.sig").write_bytes(raw)
    config = verifying.Config().use_certificate_verifier(certificate_chain=[root])
    config.verify(folder, folder.parent / "c.sig")

    found = open_by_chain(read_bundle(raw), at=datetime.now(UTC))

    authority = load_authorities(root.read_bytes())[0]
    assert found.signatory.identity == "release@example.org"
    assert found.signatory.ca == authority.fingerprint(hashes.SHA256()).hex()
    assert read_signed_files(found.payload) == FILES


def test_a_certificate_does_not_hold_after_its_time_or_under_another_authority(certified):
    raw, _ = certified
    other = certificate("other authority", "other authority", is_authority=True)

    for given in ({"at": datetime.now(UTC) + timedelta(days=365)}, {"at": datetime.now(UTC), "roots": [other]}):
        with pytest.raises(BadSignature, match="does not lead up"):
            open_by_chain(read_bundle(raw), **given)


def test_a_certificate_of_another_key_or_that_is_an_authority_signs_nothing(certified, place):
    raw, _ = certified
    fields = json.loads(raw)
    chain = fields["verificationMaterial"]["x509CertificateChain"]["certificates"]
    other = certificate("somebody", "authority")
    from cryptography.hazmat.primitives.serialization import Encoding

    chain[0]["rawBytes"] = base64.b64encode(other.public_bytes(Encoding.DER)).decode()
    with pytest.raises(BadSignature, match="has not signed these bytes"):
        open_by_chain(read_bundle(json.dumps(fields).encode()), at=None)
    fields["verificationMaterial"]["x509CertificateChain"]["certificates"] = chain[1:]
    with pytest.raises(BadSignature):
        open_by_chain(read_bundle(json.dumps(fields).encode()), at=None)


def test_another_key_opens_nothing(signed):
    with pytest.raises(BadSignature, match="is said to have signed it, not"):
        opened(signed, "eve")
    renamed = json.loads(signed)
    renamed["verificationMaterial"]["publicKey"]["hint"] = public("eve").keyid
    with pytest.raises(BadSignature, match="has not signed these bytes"):
        opened(json.dumps(renamed).encode(), "eve")


@ODD_CERTIFICATES
def test_no_mutation_of_a_bundle_is_taken(signed, certified, figures):
    assert survivors(signed, certified, random.Random(7), MUTANTS) == []

    figures("mutated bundles refused", f"{MUTANTS} of {MUTANTS}")


@pytest.mark.soak
@ODD_CERTIFICATES
def test_no_mutation_of_many_is_taken(signed, certified, figures):
    assert survivors(signed, certified, random.Random(8), SOAKED) == []

    figures("mutated bundles refused", f"{SOAKED} of {SOAKED}")


def survivors(signed, certified, chance, count):
    """Change a bit anywhere; give where that was and the bundle was opened all the same."""
    found = []
    ways = (
        (signed, lambda raw: open_by_key(read_bundle(raw), public("ana"))),
        (certified[0], lambda raw: open_by_chain(read_bundle(raw), at=None)),
    )
    for number in range(count):
        whole, opens = ways[number % 2]
        raw = bytearray(whole)
        place = chance.randrange(len(raw))
        raw[place] ^= 1 << chance.randrange(7)
        try:
            opens(bytes(raw))
        except BadSignature:
            continue
        found.append((number, place))
    return found


def drop(payload):
    payload["predicate"]["resources"].pop()
    rooted(payload)


def add(payload):
    payload["predicate"]["resources"].append({"name": "evil.txt", "algorithm": "sha256", "digest": "ab" * 32})
    rooted(payload)


def swap(payload):
    payload["predicate"]["resources"][0]["digest"] = "ab" * 32
    rooted(payload)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop, "is in the version and not signed"),
        (add, "is signed and not in the version"),
        (swap, "is signed as another"),
    ],
)
def test_who_signs_other_files_has_not_signed_these(signed, change, words):
    forged = changed(signed, change, signer="ana")

    with pytest.raises(BadSignature, match=words):
        check_files(opened(forged), FILES, what="the version")
    with pytest.raises(BadSignature, match="has not signed these bytes"):
        opened(changed(signed, change))


def renamed(name):
    def change(payload):
        payload["predicate"]["resources"][0]["name"] = name
        rooted(payload)

    return change


def field(**values):
    return lambda payload: payload.update(values)


def method(**values):
    return lambda payload: payload["predicate"]["serialization"].update(values)


@pytest.mark.parametrize(
    "change",
    [
        *map(renamed, ["../x", "/etc/passwd", "a/../b", "a//b", "", ".", "a\\b", "a\0b", "a/", 7]),
        lambda payload: payload["predicate"]["resources"].append(payload["predicate"]["resources"][0]),
        lambda payload: payload["predicate"].update(resources=[]),
        lambda payload: payload["subject"].append(payload["subject"][0]),
        lambda payload: payload["predicate"].update(more=1),
        field(predicateType="https://model_signing/Digests/v0.1"),
        field(_type="x"),
        field(more=1),
        field(predicate=[]),
        field(subject=[]),
        field(subject=[{"digest": 7}]),
        method(method="shards"),
        method(hash_type="blake3"),
        method(allow_symlinks=True),
    ],
)
def test_a_statement_of_another_form_is_refused_though_it_is_signed(signed, change):
    with pytest.raises(BadSignature):
        opened(changed(signed, change, signer="ana"))


def test_a_subject_of_other_files_is_refused_though_it_is_signed(signed):
    def change(payload):
        payload["predicate"]["resources"].pop()

    with pytest.raises(BadSignature, match="its subject is another than its files"):
        opened(changed(signed, change, signer="ana"))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"a":1,"a":1}',
        b" " * (MOST_BYTES + 1),
        json.dumps({"mediaType": MEDIA_TYPE, "verificationMaterial": {}, "dsseEnvelope": {}}).encode(),
        b'{"x":' * 2_000,
    ],
)
def test_what_is_no_bundle_is_refused(raw):
    with pytest.raises(BadSignature):
        read_bundle(raw)


def with_material(raw, **material):
    fields = json.loads(raw)
    fields["verificationMaterial"] |= material
    return json.dumps(fields).encode()


def test_a_bundle_that_could_be_read_in_two_ways_is_refused(signed, certified):
    chain = json.loads(certified[0])["verificationMaterial"]["x509CertificateChain"]

    for raw in (
        with_material(signed, x509CertificateChain=chain),
        with_material(signed, more=1),
        with_material(signed, tlogEntries=[{}]),
        signed.replace(b'"keyid"', b'"kid"'),
        signed.replace(b'"payload":', b'"payload":"","payload":'),
        signed[:-1] + b',"more":1}',
    ):
        with pytest.raises(BadSignature):
            read_bundle(raw)


def test_two_signatures_are_refused(signed):
    fields = json.loads(signed)
    fields["dsseEnvelope"]["signatures"] *= 2

    with pytest.raises(BadSignature, match="not one signature"):
        read_bundle(json.dumps(fields).encode())


def test_the_subject_of_a_folder_is_what_model_signing_takes_for_it(signed):
    payload = json.loads(open_by_key(read_bundle(signed), public("ana")).payload)

    assert payload["subject"][0]["digest"]["sha256"] == folder_root(FILES)


def test_keys_that_others_read_and_that_are_none_are_refused(tmp_path):
    library()
    key, pub = key_files(tmp_path, "ana")
    key.chmod(0o644)

    with pytest.raises(Misconfigured, match="others can read the key"):
        SigningCredentials(key).check()
    for path in (pub, tmp_path / "none.pem"):
        path.chmod(0o600) if path.exists() else None
        with pytest.raises(InvalidInput, match=r"no key|holds no private key"):
            SigningCredentials(path).check()
    with pytest.raises(InvalidInput, match="stays where it is"):
        PemKey.parse(key.read_text())


def test_without_a_sigstore_nothing_is_signed_keyless(tmp_path, monkeypatch):
    library()
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "trust.json").write_text("{}")

    with pytest.raises(Unavailable, match="no Sigstore has signed it") as refused:
        sign_files("delta", FILES, SigningCredentials(trust=tmp_path / "trust.json"))

    assert "--sign KEY" in refused.value.fix


def test_without_the_library_it_says_how_to_get_it(tmp_path, monkeypatch):
    key, _ = key_files(tmp_path, "ana")
    monkeypatch.setitem(sys.modules, "model_signing", None)

    with pytest.raises(Misconfigured, match="needs OpenSSF model-signing") as refused:
        SigningCredentials(key).check()

    assert refused.value.fix == "pip install 'deltareg[sign]'"


def test_without_the_library_of_sigstore_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sigstore.models", None)
    leaf = certificate("ana", "authority")

    with pytest.raises(Misconfigured, match="needs its library") as refused:
        open_keyless(b"{}", leaf, identity="ana", trust=tmp_path / "trust.json")

    assert refused.value.fix == "pip install 'deltareg[sign]'"
