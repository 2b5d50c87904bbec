"""The installed client over TLS with an authority of one's own, and over a bucket: the same."""

import datetime
import os
import re
import socket
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from safetensors.numpy import save_file

from tests.fixtures.processes import API
from tests.fixtures.registries import running
from tests.hub.conftest import BASE, LORA

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(900)]
_ERROR = "HfApi(token='{}').model_info('team/way')"


def signed(name, issuer, key, by, *, is_authority):
    """Give a certificate for this machine, or for who signs such."""
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in (name, issuer)]
    now = datetime.datetime.now(datetime.UTC)
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    return (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=9))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
        .sign(by, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


@pytest.fixture
def tls_server(programs, tmp_path, monkeypatch):
    """Run one that does TLS itself; its authority is in `authority.pem`."""
    above, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority, cert, key = (tmp_path / f"{n}.pem" for n in ("authority", "cert", "key"))
    authority.write_bytes(signed("above", "above", above, above, is_authority=True))
    cert.write_bytes(signed("here", "above", own, above, is_authority=False))
    key.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = programs.api(
        command=("env", f"SSL_CERT_FILE={authority}", *API),
        hub="true",
        port=port,
        tls_cert=cert,
        tls_key=key,
        hub_address=f"https://127.0.0.1:{port}",
    ).start()
    with server.client(tmp_path / "cache") as client:
        client.bases.push(BASE, "tinyllama", hub_ids=["bases/tinyllama"])
    return server


def push_and_read(url, token, folder, **more):
    """Push an adapter, one with a large file that is refused first, and read it back."""
    environ = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ} | more
    environ |= {"HOME": str(folder), "HF_ENDPOINT": url, "HF_TOKEN": token}
    out = folder / "out"
    out.mkdir()
    for path in LORA.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    noise = np.random.default_rng(1).integers(0, 255, 40 << 20, np.uint8)
    save_file({"padding": noise}, out / "extra.safetensors")

    def run(*command):
        return subprocess.run(
            list(map(str, command)), env=environ, capture_output=True, text=True, check=False, timeout=600
        )

    program = Path(sys.executable).with_name("hf")
    refused = run(program, "upload", "team/way", out)
    (out / "extra.safetensors").unlink()
    taken = run(program, "upload", "team/way", out)
    read = run(program, "download", "team/way", "--revision", "v1", "--local-dir", folder / "back")

    assert "unexpected_tensors" in refused.stderr, refused.stderr[-2_000:]
    assert taken.returncode == 0, taken.stderr[-2_000:]
    assert read.returncode == 0, read.stderr[-2_000:]
    for path in LORA.iterdir():
        assert (folder / "back" / path.name).read_bytes() == path.read_bytes()
    return run


def test_over_tls_all_is_the_same_and_refusals_are_told(tls_server, tmp_path):
    authority = {"SSL_CERT_FILE": str(tmp_path / "authority.pem")}
    (home := tmp_path / "home").mkdir()

    run = push_and_read(tls_server.url, tls_server.token, home, **authority)

    for token, told in {"hf_mine": "a personal token", "drg_x": "token"}.items():
        code = f"from huggingface_hub import HfApi; {_ERROR.format(token)}"
        ended = run(sys.executable, "-c", code).stderr
        last = " ".join(re.split(r"huggingface_hub\.errors\.", ended)[-1].split())
        assert last.startswith("HfHubHTTPError"), last  # and not that there is no such repository
        assert told in last


def test_over_a_bucket_all_is_the_same(postgresql_url, swift_endpoint, fresh_bucket, bucket_stock, tmp_path):
    url, s3 = f"s3://{fresh_bucket()}/registry", swift_endpoint.options()
    options = {"s3": s3, "stock": bucket_stock, "hub_main": "prod"}
    (home := tmp_path / "home").mkdir()
    with running(postgresql_url, url, tmp_path, **options) as server:
        with server.client() as admin:
            admin.bases.push(BASE, "tinyllama", hub_ids=["bases/tinyllama"])

        push_and_read(server.url, server.token("read", "push", principal="trainer"), home)

        with server.client() as admin:
            admin.storage.collect(dry_run=False, grace_s=0)
            assert admin.storage.fsck().findings == []
