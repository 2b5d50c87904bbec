"""Keys: as text, and in a file that nobody else reads and nothing overwrites."""

import threading

import pytest

from deltareg.errors import InvalidInput, Misconfigured
from deltareg.signing.key_file import read_key, read_or_make_key, write_key
from deltareg.signing.keys import KeyText, PublicKey, SigningKey, parse_host
from tests.signers import key_of

KEY = key_of("gpu-1")


def test_a_public_key_is_read_as_it_is_written():
    assert PublicKey.parse(f"  {KEY.public}\n") == KEY.public
    assert KeyText.parse(str(KeyText(KEY.public, "rack-7"))) == KeyText(KEY.public, "rack-7")
    assert KeyText.parse(str(KEY.public)).host == ""


@pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:zz", f"rsa:{'0' * 64}", f"ed25519:{'A' * 64}", "x" * 9000])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(InvalidInput, match="no public key"):
        KeyText.parse(text)


@pytest.mark.parametrize("host", ["", "Rack", "a b", "-a", "a" * 65, "a\n"])
def test_what_is_no_host_is_refused(host):
    with pytest.raises(InvalidInput, match="no name of a host"):
        parse_host(host)


def test_what_prints_a_pair_prints_no_secret():
    assert KEY.pem().hex() not in repr(KEY)
    assert repr(KEY) == f"SigningKey({KEY.public})"


def test_a_pair_is_kept_for_its_owner_alone(tmp_path):
    path = tmp_path / "home" / "key.pem"

    made, is_new = read_or_make_key(path)
    again, is_new_again = read_or_make_key(path)

    assert (is_new, is_new_again) == (True, False)
    assert made.public == again.public
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_file_that_is_there_is_never_overwritten(tmp_path):
    path = tmp_path / "key.pem"
    path.write_text("mine")

    assert not write_key(path, KEY)
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match="no Ed25519 key"):
        read_or_make_key(path)
    assert path.read_text() == "mine"
    assert [each.name for each in tmp_path.iterdir()] == ["key.pem"]


def test_a_key_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "key.pem"
    write_key(path, KEY)
    path.chmod(0o640)

    with pytest.raises(Misconfigured, match="others can read the key"):
        read_key(path)


def test_of_several_that_make_one_at_a_time_all_get_the_same(tmp_path):
    path, found = tmp_path / "key.pem", []
    threads = [threading.Thread(target=lambda: found.append(read_or_make_key(path)[0].keyid)) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1


def test_a_key_of_another_algorithm_is_none():
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    pem = X25519PrivateKey.generate().private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())

    with pytest.raises(InvalidInput):
        SigningKey.of_pem(pem)
