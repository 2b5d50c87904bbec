"""Signed deltas on the command line: signed with a push, pulled, verified with and without us."""

import json
import shutil
from hashlib import sha256

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from tests.cli.steps import DELTAS, done, push, push_base
from tests.service import rows
from tests.signed_deltas import attestation, certificate_files, key_files, library, public


@pytest.fixture
def key(user):
    """Make a key to sign with, on the command line."""
    library()
    made = done(user, "signature", "key", "release.pem")
    return made["named"]


@pytest.fixture
def signed(user, key):
    """Push a signed version, and pull it into `got`."""
    push_base(user)
    done(user, "push", DELTAS / "lora", "me/chat", "--base", "tinyllama", "--sign", "release.pem")
    done(user, "pull", "me/chat:v1", "--to", "got")
    return user.home / "got"


def test_a_key_is_made_for_its_owner_alone_and_is_never_made_over(user, key):
    again = done(user, "signature", "key", "release.pem")

    assert (user.home / "release.pem").stat().st_mode & 0o777 == 0o600
    assert (again["named"], again["is_new"]) == (key, False)
    assert done(user, "signature", "key", "release.pem.pub")["named"] == key


def test_what_was_pushed_signed_is_pulled_and_verified_by_everybody(user, key, signed, monkeypatch):
    verifying = library()
    shown = user("show", "me/chat:v1")
    listed = user("ls", "me/chat")

    assert f"key {key[:12]}" in shown.out
    assert "SIGNED" in listed.out
    assert {path.name for path in signed.iterdir()} == {
        "model.sig",
        *(path.name for path in (DELTAS / "lora").iterdir()),
    }
    pub, sig = user.home / "release.pem.pub", signed / "model.sig"
    from model_signing import hashing

    config = verifying.Config().use_elliptic_key_verifier(public_key=pub)
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=[sig]))
    config.verify(signed, sig)
    monkeypatch.setenv("DELTAREG_SERVER", "http://127.0.0.1:9")
    found = user("signature", "verify", "got", "--key", "release.pem.pub")
    assert (found.status, "holds" in found.out) == (0, True)
    unknown = user("signature", "verify", "got", "--key", key)
    assert (unknown.status, "is not at hand" in unknown.err) == (2, True)
    assert done(user, "signature", "verify", "got/model.sig", "--key", "release.pem.pub")["items"]


def _other(folder):
    config = folder / "adapter_config.json"
    config.write_text(config.read_text() + " ")


def _nested(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "model.sig").write_text("x")


CHANGES = {
    "adapter_config.json is signed as another": _other,
    "evil.py is in": lambda folder: (folder / "evil.py").write_text("x"),
    "adapter_config.json is signed and not in": lambda folder: (folder / "adapter_config.json").unlink(),
    "is no file of a delta": lambda folder: (folder / "x").symlink_to("adapter_config.json"),
    "sub/model.sig is in": _nested,
}


def test_a_folder_that_was_changed_does_not_hold(user, signed):
    for number, (words, change) in enumerate(CHANGES.items()):
        folder = user.home / f"changed-{number}"
        shutil.copytree(signed, folder)
        for path in folder.iterdir():
            path.chmod(0o644)
        change(folder)

        found = user("signature", "verify", folder, "--key", "release.pem.pub")

        assert (found.status, words in found.err) == (6, True), found.err


def test_a_stripped_signature_or_one_of_another_key_does_not_hold(user, signed):
    key_files(user.home, "eve")

    other = user("signature", "verify", "got", "--key", "eve.pub")
    (signed / "model.sig").unlink()
    stripped = user("signature", "verify", "got", "--key", "release.pem.pub")
    nobody = user("signature", "verify", "got")
    again = user("pull", "me/chat:v1", "--to", "got")
    pushed = user("push", "got", "me/chat", "--base", "tinyllama")

    assert (other.status, stripped.status, nobody.status) == (6, 2, 2)
    assert "signature export REF" in stripped.err
    assert "name the signer: --key FILE" in nobody.err
    assert again.status == 0
    assert (signed / "model.sig").exists()
    assert "was there already" in pushed.out
    assert "left out, 1 file: model.sig" in pushed.err


def test_a_pull_that_requires_a_signature_brings_nothing_without_it(user, key):
    push(user)

    unsigned = user("pull", "me/chat:v1", "--to", "a", "--require-signature", "release.pem.pub")
    assert unsigned.status == 6
    assert "nobody has signed it" in unsigned.err
    assert not (user.home / "a").exists()

    again = done(user, "push", DELTAS / "lora", "me/chat", "--base", "tinyllama", "--sign", "release.pem")
    assert (again["version"], again["created"]) == (1, False)
    pulled = done(user, "pull", "me/chat:v1", "--to", "a", "--require-signature", key)
    assert pulled["signed_by"] == [f"key {key[:12]}"]


def test_an_update_brings_the_signature_of_what_it_brings(user, signed):
    done(user, "push", DELTAS / "lora_v2", "me/chat", "--base", "tinyllama")
    before = (signed / "model.sig").read_bytes()

    assert user("update", "got", "--to", ":v2").status == 0
    assert not (signed / "model.sig").exists()
    assert user("update", "got", "--to", ":v1").status == 0

    assert (signed / "model.sig").read_bytes() == before
    assert user("signature", "verify", "got", "--key", "release.pem.pub").status == 0


def test_a_server_that_lies_about_a_signature_is_found_out(user, signed, key, local_registry):
    with write(local_registry.registry.engine) as conn, rows.unguarded(conn, t.referrers):
        conn.execute(sa.update(t.referrers).values(keyid=public("eve").keyid))
    key_files(user.home, "eve")

    claimed = user("pull", "me/chat:v1", "--to", "b", "--require-signature", "eve.pub")
    hidden = user("pull", "me/chat:v1", "--to", "b", "--require-signature", "release.pem.pub")

    assert (claimed.status, hidden.status) == (6, 6)
    assert not (user.home / "b").exists()


def test_a_revoked_key_is_shown_so_and_opens_no_pull(user, signed, key):
    revoked = user("signature", "revoke", key, "-m", "stolen", "--yes")

    assert revoked.status == 0
    assert "revoked" in user("show", "me/chat:v1").out
    assert done(user, "signature", "revoked")["items"][0]["reason"] == "stolen"
    refused = user("pull", "me/chat:v1", "--to", "b", "--require-signature", "release.pem.pub")
    assert (refused.status, "is revoked: stolen" in refused.err) == (6, True)


def test_a_certificate_signs_for_its_name(user):
    library()
    push_base(user)
    certificate_files(user.home, "release", "authority")

    done(
        user,
        "push",
        DELTAS / "lora",
        "me/chat",
        "--base",
        "tinyllama",
        "--sign",
        "release.pem",
        "--certificate",
        "release.crt",
        "--certificate-chain",
        "authority.crt",
    )
    done(user, "pull", "me/chat:v1", "--to", "got", "--require-signature", "authority.crt")

    name = "authority.crt#release@example.org"
    assert done(user, "signature", "verify", "got", "--key", name)["items"]
    assert user("signature", "verify", "got", "--key", "authority.crt#eve@x").status == 6
    named = done(user, "signature", "key", "authority.crt")["named"]
    assert done(user, "signature", "verify", "got", "--key", f"{named}#release@example.org")


def test_what_cannot_be_signed_is_not_pushed(user):
    library()
    push_base(user)
    (user.home / "open.pem").write_text("x")
    for words in (
        ("--sign", "none.pem"),
        ("--sign", "open.pem"),
        ("--certificate", "x.crt"),
        ("--sign", "none.pem", "--certificate", "x.crt"),
    ):
        refused = user("push", DELTAS / "lora", "me/chat", "--base", "tinyllama", *words)
        assert refused.status in {1, 2, 10}, refused.err

    assert user("show", "me/chat:v1").status == 3


def test_attestations_of_others_are_kept_listed_and_verified(user):
    ref = push(user)
    key_files(user.home, "builder")
    key_files(user.home, "eve")
    weights = (DELTAS / "lora" / "adapter_model.safetensors").read_bytes()
    raw = attestation("builder", {"adapter": sha256(weights).hexdigest()})
    (user.home / "prov.json").write_bytes(raw)

    added = done(user, "attest", "add", ref, "prov.json", "--key", "builder.pub")
    listed = done(user, "attest", "ls", ref)["items"]
    user("attest", "export", ref, "--out", "out.json")
    verified = done(user, "attest", "verify", ref, "--key", "builder.pub")["items"]

    assert [one["digest"] for one in listed] == [added["digest"]]
    assert json.loads((user.home / "out.json").read_text()) == json.loads(raw)
    assert verified[0]["predicate_type"] == "https://slsa.dev/provenance/v1"
    assert user("attest", "verify", ref, "--key", "eve.pub").status == 6
    assert user("attest", "verify", ref, "--key", "builder.pub", "--type", "x").status == 6
    other = user("attest", "add", ref, "prov.json", "--key", "eve.pub")
    private = user("attest", "add", ref, "prov.json", "--key", "builder.pem")
    assert (other.status, private.status) == (6, 2)
    assert "is a private key, which stays where it is" in private.err
