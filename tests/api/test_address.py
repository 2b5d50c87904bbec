"""Where a server listens: loopback by default, elsewhere only with TLS or behind a proxy."""

import os
import subprocess
import sys

import pytest

from deltareg.api.opening import check_address
from deltareg.api.settings import ServerSettings
from deltareg.errors import Misconfigured

OPEN = ["0.0.0.0", "::", "192.0.2.7", "example.org", "", "127.0.0.1.example.org", "localhost."]
TLS = {"tls_cert": "/c.pem", "tls_key": "/k.pem"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_nothing(host):
    check_address(ServerSettings(host=host))


@pytest.mark.parametrize("host", OPEN)
@pytest.mark.parametrize("more", [{}, {"tls_cert": "/c.pem"}, {"tls_key": "/k.pem"}])
def test_elsewhere_is_refused_in_the_clear(host, more):
    with pytest.raises(Misconfigured, match="in the clear") as refused:
        check_address(ServerSettings(host=host, **more))

    assert "DELTAREG_TLS_CERT" in refused.value.fix


@pytest.mark.parametrize("more", [TLS, {"behind_proxy": True}])
def test_elsewhere_with_tls_or_a_proxy(more):
    check_address(ServerSettings(host="0.0.0.0", **more))


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize("command", ["run", "up"])
def test_the_process_ends_before_it_binds(command, tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "deltareg.api", command, "--host", "0.0.0.0", "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
    )

    assert run.returncode == 2
    assert "in the clear" in run.stderr
    assert "fix:" in run.stderr
    assert "Traceback" not in run.stderr
    assert "listens" not in run.stdout


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize("kind", ["absent", "garbage"])
def test_a_certificate_that_is_none_is_told(kind, tmp_path):
    for name in ("cert.pem", "key.pem") if kind == "garbage" else ():
        (tmp_path / name).write_text("x")
    environ = {
        **os.environ,
        "DELTAREG_TLS_CERT": str(tmp_path / "cert.pem"),
        "DELTAREG_TLS_KEY": str(tmp_path / "key.pem"),
    }

    run = subprocess.run(
        [sys.executable, "-m", "deltareg.api", "run", "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
        env=environ,
    )

    assert run.returncode == 2
    assert "error: the certificate cannot be used" in run.stderr
    assert "Traceback" not in run.stderr
