"""No command sends a token to a server that only a cloned folder names, whatever the command is."""

import io
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import click
import pytest

from deltareg import Client
from deltareg.client import WorkerClient
from deltareg.client.config import load_config
from deltareg.errors import DeltaregError, Misconfigured
from deltareg.host.token_files import write_token
from deltareg.integrations.addresses import open_client
from deltareg_cli.frame import cli
from tests.cli.steps import DELTAS

SECRET = "drg_wrk_secret"  # of nobody
IN_PLACE = {
    "up",
    "server run",
    "server check",
    "server migrate",
    "server backup",
    "server verify-backup",
    "server prune-backups",
    "server restore",
    "server doctor",
    "server keys ls",
    "server keys show",
    "server keys rotate",
    "server keys reseal",
    "worker run",
    "help",
}
"""Commands that become another program, and one that only prints: the others run in this process."""
VALUES = {"line": "me/chat", "base": "tinyllama", "namespace": "me", "channel": "prod"}


class _Listener:
    """A server that knows nothing, and what tokens it was sent."""

    def __init__(self):
        seen = self.seen = []

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                if self.headers.get("Authorization"):
                    seen.append(self.path)
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = do_HEAD = do_PATCH = do_DELETE = do_GET  # noqa: N815  # the library's names

            def log_message(self, *_):
                """Be silent."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def listener():
    listener = _Listener()
    yield listener
    listener.http.shutdown()
    listener.http.server_close()


@pytest.fixture
def cloned(shell, listener, monkeypatch):
    """Stand in a folder that names a server, with a token that is for another."""
    monkeypatch.delenv("DELTAREG_SERVER")
    monkeypatch.setenv("DELTAREG_TOKEN", SECRET)
    monkeypatch.setenv("DELTAREG_RETRIES", "0")
    monkeypatch.setenv("CI", "1")
    (shell.home / "deltareg.toml").write_text(f'server = "{listener.url}"\n')
    shutil.copytree(DELTAS / "lora", shell.home / "folder")
    return shell


def test_no_command_sends_it(cloned, listener, monkeypatch):
    lines = {name: line for name, line in _lines(cli, ()) if name not in IN_PLACE}

    reached = _senders(cloned, listener, lines, monkeypatch)
    monkeypatch.setenv("DELTAREG_SERVER", listener.url)
    named = _senders(cloned, listener, lines, monkeypatch)

    assert reached == []
    assert len(named) > 80, sorted(set(lines) - set(named))
    assert {"ls", "push", "pull", "promote", "open", "doctor", "auth login", "token create", "agent run"} <= set(named)


def test_no_worker_sends_it(cloned, listener):
    ended = cloned.spawn("worker", "run", "--once")
    _, errors = ended.communicate(timeout=60)

    assert listener.seen == []
    assert ended.returncode == 2
    assert "does not get DELTAREG_TOKEN" in errors


def test_no_client_of_python_sends_it(cloned, listener):
    clients = [
        Client,
        lambda: Client(token=SECRET),
        lambda: Client(load_config().config, token=SECRET),
        lambda: WorkerClient(load_config().config),
        open_client,
        lambda: open_client(token=SECRET),
        lambda: open_client(listener.url.removeprefix("http://"), token=SECRET),
    ]

    for make in clients:
        with pytest.raises(Misconfigured, match="names the server"), make() as client:
            client.whoami()

    assert listener.seen == []


def test_who_has_logged_in_there_is_known_there(cloned, listener, monkeypatch):
    monkeypatch.delenv("DELTAREG_TOKEN")
    write_token(listener.url, SECRET)

    with pytest.raises(DeltaregError), Client() as client:
        client.whoami()
    cloned("ls")

    assert len(listener.seen) == 2


def test_a_login_from_stdin_wants_the_server_named(cloned, listener, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(SECRET))

    refused = cloned("auth", "login", "--token-stdin")

    assert (refused.status, listener.seen) == (2, [])
    assert f"--server {listener.url}" in refused.err.replace("\n", " ")


def _senders(shell, listener, lines, monkeypatch):
    """Run each line; give the names of those that sent a token."""
    senders = []
    for name, line in lines.items():
        listener.seen.clear()
        monkeypatch.setattr(sys, "stdin", io.StringIO(SECRET))
        shell(*line)
        if listener.seen:
            senders.append(name)
    return senders


def _lines(group, path):
    """Give each command with a line that it takes."""
    context = click.Context(group)
    for name in group.list_commands(context):
        child = group.get_command(context, name)
        if isinstance(child, click.Group):
            yield from _lines(child, (*path, name))
        else:
            yield " ".join((*path, name)), [*path, name, *_words(child)]


def _words(child):
    words = ["--token-stdin"] if any("--token-stdin" in param.opts for param in child.params) else []
    for param in child.params:
        if isinstance(param, click.Argument) and (param.required or param.nargs == -1):
            words += [str(_value(param))] * max(param.nargs, 1)
        elif param.required:
            words += [param.opts[0], str(_value(param))]
        elif param.opts[-1] in {"--once", "--yes", "--base", "--channel"}:
            words += [param.opts[-1]] if getattr(param, "is_flag", False) else [param.opts[-1], str(_value(param))]
    return words


def _value(param):
    kind, name = param.type, str(param.name)
    if isinstance(kind, click.Choice):
        return next(iter(kind.choices))
    if isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return 1
    if isinstance(kind, click.Path):
        return "folder" if kind.dir_okay else "folder/adapter_config.json"
    return "me/chat@prod" if "@" in (param.metavar or "") else VALUES.get(name, "me/chat:v1")
