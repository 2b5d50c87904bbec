"""What a client says of a server's certificate, with a real handshake."""

import pytest

from deltareg.client import Client, ClientConfig
from deltareg.client.http import api
from deltareg.errors import Misconfigured, Unavailable
from tests.tls import Authority, serving_tls


@pytest.fixture
def authority(tmp_path):
    api._load_certificates.cache_clear()  # it reads the environment once a process
    yield Authority(tmp_path)
    api._load_certificates.cache_clear()


def refusal(tmp_path, certificate):
    """Say how a server with a certificate is refused: message and fix."""
    with serving_tls(certificate) as url:
        config = ClientConfig(server=url, token="t", cache_dir=tmp_path, retries=0, patience_s=0)
        with Client(config) as client, pytest.raises((Unavailable, Misconfigured)) as refused:
            client.audit.checkpoint()
    return refused.value.message, refused.value.fix


@pytest.mark.parametrize(
    ("host", "days", "is_trusted", "message", "fix"),
    [
        ("localhost", 9, True, "answered 503", "try again"),
        ("localhost", 9, False, "is not trusted: unable to get local issuer certificate", "SSL_CERT_FILE=ca.pem"),
        ("localhost", -2, True, "has expired", "has to renew it"),
        ("other.example", 9, True, "is for another host than localhost", "the host that it is for"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said(
    authority, tmp_path, monkeypatch, host, days, is_trusted, message, fix
):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))

    told = refusal(tmp_path, authority.issue(host, days=days))

    assert (message in told[0], fix in told[1]) == (True, True), told
    assert "no registry answers" not in told[0]


def test_a_file_that_holds_another_authority_is_named(authority, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.path))

    _, fix = refusal(tmp_path, authority.issue("localhost"))

    assert str(other.path) in fix


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_file_of_certificates_that_holds_none_is_named(authority, tmp_path, monkeypatch, text):
    named = tmp_path / "trusted.pem"
    if text is not None:
        named.write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(named))

    message, fix = refusal(tmp_path, authority.issue("localhost"))

    assert str(named) in message
    assert "SSL_CERT_FILE" in fix
