"""The lines for nginx of the deployment page, with a real nginx in front of a registry."""

import os
import re
import shutil
import socket
import subprocess

import httpx
import pytest

from deltareg.client import Client, ClientConfig
from tests.conftest import REPOSITORY
from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES, SCOPES

pytestmark = pytest.mark.soak
_PROGRAM = "DELTAREG_TEST_NGINX"  # where it is not installed
_CONFIG = """
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{ listen 127.0.0.1:{port}; {location} }}
}}
"""


@pytest.fixture
def proxy(local_registry, tmp_path):
    """Run nginx with the page's lines; gives its address."""
    program = os.environ.get(_PROGRAM) or shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("needs nginx: apt-get install nginx")
    page = (REPOSITORY / "deploy" / "README.md").read_text("utf-8")
    (found,) = re.findall(r"```nginx\n(.*?)```", page, re.DOTALL)
    location = found.replace("http://127.0.0.1:8642", local_registry.url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path / "nginx"
    home.mkdir()
    (home / "nginx.conf").write_text(_CONFIG.format(port=port, location=location))
    running = subprocess.Popen([program, "-p", str(home), "-c", "nginx.conf", "-e", "stderr"], cwd=home)
    try:
        until(lambda: running.poll() is not None or is_up(port), "nginx answers")
        assert running.poll() is None, "nginx refuses the page's lines"
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(30)


def is_up(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_clients_push_and_pull_through_it(proxy, local_registry, tmp_path):
    token = local_registry.token(*SCOPES, principal="ana")

    with Client(ClientConfig(server=proxy, token=token, cache_dir=tmp_path / "cache")) as client:
        client.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
        pushed = client.push(SAMPLES / "deltas" / "tinyllama" / "lora", "team/lora", base="tinyllama")
        pulled = client.pull(pushed.version.ref, tmp_path / "pulled")

    sent, came = (SAMPLES / "deltas/tinyllama/lora" / "adapter_model.safetensors"), pulled.path
    assert sent.read_bytes() == (came / "adapter_model.safetensors").read_bytes()


def test_people_log_in_through_it(proxy, local_registry):
    with httpx.Client(base_url=proxy, headers={"Origin": proxy}) as browser:
        login = browser.post("/ui/login", data={"token": local_registry.admin_token})

    assert login.status_code == 303, login.text[:300]
    assert "deltareg" in login.headers["Set-Cookie"]
