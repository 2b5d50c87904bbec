"""Ask a product to which things were added what became of each, and print it as JSON.

Run by `test_adding.py` in a tree of its own, where every folder of `added` has been laid.
"""

import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from ipaddress import ip_network
from pathlib import Path

import httpx
from fastapi.testclient import TestClient

from deltareg import Client
from deltareg.api.app import create_app
from deltareg.client import ClientConfig
from deltareg.db.session import create_engine, write
from deltareg.delta.kinds import all_kinds
from deltareg.delta.merge.methods import method_named
from deltareg.service.access.tokens import bootstrap_token
from deltareg.service.registry import Registry
from deltareg.signing.secret_box import SecretBox
from deltareg.store import open_store, read_options
from deltareg.suites.suite import built_in
from deltareg_cli.frame import run
from deltareg_cli.views.versions import version_blocks
from deltareg_migrations.schema import upgrade
from deltareg_verify.judging.checks import all_checks

SAMPLES = Path(__file__).parents[1] / "samples"
ADDRESS = "http://127.0.0.1"
FROM_OURS = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}


def main(folder):
    """Say of each what it answers."""
    app, token, engine = start(folder)
    with TestClient(app, base_url=ADDRESS, headers={"Authorization": f"Bearer {token}"}) as http:
        answers = {
            "merge_method": method_named("halve").summary,
            "kind": [kind.name for kind in all_kinds().values() if kind.layout == "peft SSF"],
            "command": run_command("greet", "me/chat"),
            "check": run_check("cheerful"),
            "page": open_page(http, "/ui/moods"),
            "client_thing": client_of(http, token).moods.show(),
            "event_form": client_of(http, token)
            .webhooks.add(f"{ADDRESS}:9/x", namespace=None, form="pager")
            .webhook.form,
            "store": open_drawer(folder),
            "column": show_note(http, token, engine),
        }
    print(json.dumps(answers))


def start(folder):
    """Make an app over an empty registry, and the token of its admin."""
    url = f"sqlite:///{folder / 'registry.db'}"
    upgrade(url)
    engine = create_engine(url)
    box, _ = SecretBox.generate()
    networks = (ip_network("127.0.0.0/8"),)
    registry = Registry(engine, open_store("memory://"), box=box, networks=networks)
    token = bootstrap_token(registry, principal="ada", kind="pat", scopes=["admin"])
    return create_app(registry), token, engine


def client_of(http, token):
    """Give a client of the app, asked in this process."""
    return Client(ClientConfig(server=ADDRESS, token=token), transport=Through(http))


class Through(httpx.BaseTransport):
    """Hands requests on to a client of the app."""

    def __init__(self, http):
        self._http = http

    def handle_request(self, request):
        url, content = str(request.url), request.read()
        answer = self._http.request(request.method, url, content=content, headers=request.headers)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def run_command(name, *arguments):
    """Run a command, and look for it on the page of all commands."""
    with redirect_stdout(StringIO()) as page, redirect_stderr(StringIO()) as said:
        run(["help", "all"])
        run([name, *arguments])
    assert f"  {name} " in page.getvalue()
    return said.getvalue()


def run_check(name):
    """Run the check as the suite has it."""
    (spec,) = (spec for spec in built_in("smoke").checks if spec.check == name)
    finding = all_checks()[name].run(None, spec)  # type: ignore[arg-type]  # it looks at nothing
    return f"{finding.verdict}: {finding.detail}"


def open_page(http, path):
    """Log in and look."""
    code = http.post("/api/v1/sessions").raise_for_status().json()["code"]
    http.post("/ui/login", data={"code": code}, headers=FROM_OURS, follow_redirects=False)
    answer = http.get(path, headers=FROM_OURS)
    return f"{answer.status_code} {answer.text.partition('<h1>')[2].partition('</h1>')[0]}"


def show_note(http, token, engine):
    """Push a version, note something in its row, and see what the API, Python, a page and the command line show."""
    client = client_of(http, token)
    client.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    ref = client.push(SAMPLES / "deltas" / "tinyllama" / "lora", "me/chat", base="tinyllama").version.ref
    with write(engine) as conn:
        conn.exec_driver_sql("UPDATE versions SET note = 'as told'")
    version = client.versions.show(ref)
    answer = http.get("/api/v1/deltas/me/chat/versions/1").raise_for_status().json()
    page = http.get("/ui/deltas/me/chat/v1", headers=FROM_OURS)
    rows = dict(
        row[:2] for block in version_blocks(version, now=datetime.now(UTC)) for row in getattr(block, "rows", ())
    )
    return [answer["note"], version.note, rows["note"] == "as told", "<dd>as told</dd>" in page.text]


def open_drawer(folder):
    """Open the store by its scheme, with the settings that are its own."""
    variables = {"DELTAREG_DRAWER_DESK": str(folder / "desk")}
    open_store("drawer://top", options=read_options("drawer://top", variables)).check()
    return sorted(path.name for path in (folder / "desk" / "top").iterdir())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
