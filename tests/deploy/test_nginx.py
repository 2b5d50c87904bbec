"""The lines for nginx of the deployment page, with a real nginx in front of a registry."""

import os
import re
import shutil
import socket
import subprocess
import threading

import httpx
import pytest

from deltareg.client import Client, ClientConfig
from deltareg.client.http import api
from tests.conftest import REPOSITORY
from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES
from tests.tls import Authority

pytestmark = pytest.mark.soak
_PROGRAM = "DELTAREG_TEST_NGINX"  # where it is not installed
_NAME = "registry.example.com"
_CONFIG = """
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    {server}
}}
"""


def block(language):
    """Give the one block of a language of the deployment page."""
    page = (REPOSITORY / "deploy" / "README.md").read_text("utf-8")
    found = [
        each for each in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) if "PROXY" in each or "proxy" in each
    ]
    (one,) = found
    return one


@pytest.fixture
def behind(programs):
    """Run a server with the page's settings; it listens on loopback."""
    settings = dict(line.split("=") for line in block("ini").split())
    named = {name.removeprefix("DELTAREG_").lower(): value for name, value in settings.items()}
    return programs.api(**named).start()


@pytest.fixture
def proxy(behind, tmp_path, monkeypatch):
    """Run nginx with the page's lines; gives its address, by a name that leads to this machine."""
    program = os.environ.get(_PROGRAM) or shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("needs nginx: apt-get install nginx")
    authority, (home, port) = Authority(tmp_path), (tmp_path / "nginx", free_port())
    certificate = authority.issue(_NAME)
    home.mkdir()
    server = (
        block("nginx").replace("http://127.0.0.1:8642", behind.url).replace("listen 443", f"listen 127.0.0.1:{port}")
    )
    server = re.sub(r"/etc/ssl/registry\.\w+", str(certificate), server)
    (home / "nginx.conf").write_text(_CONFIG.format(server=server))
    running = subprocess.Popen([program, "-p", str(home), "-c", "nginx.conf", "-e", "stderr"], cwd=home)
    resolve = socket.getaddrinfo
    here = lambda host, *rest, **more: resolve("127.0.0.1" if host == _NAME else host, *rest, **more)  # noqa: E731
    monkeypatch.setattr(socket, "getaddrinfo", here)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    api._load_certificates.cache_clear()
    try:
        until(lambda: running.poll() is not None or is_up(port), "nginx answers")
        assert running.poll() is None, "nginx refuses the page's lines"
        yield f"https://{_NAME}:{port}"
    finally:
        running.terminate()
        running.wait(60)
        api._load_certificates.cache_clear()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def is_up(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_without_the_settings_a_name_is_refused_with_what_to_set(programs):
    server = programs.api().start()

    refused = httpx.get(server.url + "/readyz", headers={"Host": _NAME})

    assert refused.status_code == 400
    assert "DELTAREG_BEHIND_PROXY=1" in refused.json()["detail"]


def test_large_bodies_and_streams_pass_through_it(proxy, behind, tmp_path):
    folder = tmp_path / "delta"
    shutil.copytree(SAMPLES / "deltas" / "tinyllama" / "lora", folder)
    (folder / "notes.txt").write_text(os.urandom(40 << 20).hex())
    url, heard, is_heard = f"{proxy}/api/v1/events/stream", [], threading.Event()

    def listen():
        headers = {"Authorization": f"Bearer {behind.token}"}
        with httpx.stream("GET", url, headers=headers, timeout=60) as answer:
            for line in answer.iter_lines():
                heard.append(line)
                is_heard.set()
                if "version.pushed" in line:
                    return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert is_heard.wait(60)  # the first words come at once, though the stream goes on
    with Client(ClientConfig(server=proxy, token=behind.token, cache_dir=tmp_path / "cache")) as client:
        client.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
        pushed = client.push(folder, "team/lora", base="tinyllama")
        pulled = client.pull(pushed.version.ref, tmp_path / "pulled").path
    listener.join(60)

    assert not listener.is_alive()
    for path in folder.iterdir():
        assert (pulled / path.name).read_bytes() == path.read_bytes(), path.name


def test_people_log_in_through_it(proxy, behind):
    with httpx.Client(base_url=proxy, headers={"Origin": proxy}) as browser:
        login = browser.post("/ui/login", data={"token": behind.token})
        page = browser.get("/ui/help")

    assert login.status_code == 303, login.text[:300]
    assert "Secure" in login.headers["Set-Cookie"]
    assert proxy in page.text
