"""Lines that follow a repository on a hub: another registry, or a small server that refuses and lies as hubs do."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deltareg.client import Client
from deltareg.errors import InvalidInput, Misconfigured, NotFound, Refused, Unavailable
from deltareg.host.token_files import token_path
from deltareg.integrations.hub_lines.bring import FollowingLine, bring_newest, describe
from deltareg.integrations.hub_lines.repository import HubCommit, HubFile, HubRepository
from deltareg.integrations.hub_lines.room import HubNote
from tests.fixtures.registries import SAMPLES
from tests.hub.conftest import BASE, LORA, LORA_2, member, open_hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {path.name: path.read_bytes() for path in sorted(LORA.iterdir())}


@pytest.fixture
def site(sqlite_template, tmp_path, local_stock):
    """Run the hub, on whose branch main the newest version of a line is."""
    folder = tmp_path / "hub"
    folder.mkdir()
    shutil.copyfile(sqlite_template, folder / "registry.db")
    url = f"sqlite:///{folder / 'registry.db'}"
    with open_hub(url, folder, local_stock, hub_main="newest") as server:
        with server.client() as client:
            client.bases.push(BASE, "tinyllama")
            client.push(LORA, "org/lora", base="tinyllama")
        server.hub_token = member(server, "mirror", "read")
        yield server


@pytest.fixture
def client(local_registry):
    """Give a client of the registry that follows, which has the base."""
    made = local_registry.client()
    made.bases.push(BASE, "tinyllama", hub_ids=["bases/tinyllama"])
    return made


def follow(site, line="team/lora", repository="org/lora", *, base="tinyllama", revision=""):
    return FollowingLine(HubRepository.parse(f"{site.url}/{repository}", revision), line, base)


def commit_of(site, ref="org/lora:v1"):
    with site.client() as there:
        return there.show(ref).digest.removeprefix("sha256:")[:40]


def bring(site, client, of, **options):
    """Bring the newest commit, with a token that may read what everybody may who has one there."""
    return bring_newest(client, of, **{"token": site.hub_token} | options)


def push_there(site, folder, line="org/lora"):
    with site.client() as there:
        there.push(folder, line, base="tinyllama")


def note_of(client, of):
    return of.room(client).read()


def numbers(client, line="team/lora"):
    return [version.version for version in client.versions.list(line)]


def test_the_newest_commit_becomes_a_version_and_no_commit_comes_twice(site, client):
    of = follow(site)

    first = bring(site, client, of)
    again = bring(site, client, of)

    origin = f"{site.url}/org/lora/tree/{commit_of(site)}"
    version = client.show("team/lora:v1")
    assert (first.brought, first.left, again.brought, again.there) == (["team/lora:v1"], [], [], 1)
    assert version.labels == {"imported.from": origin}
    assert version.channels == []
    assert version.digest.startswith(f"sha256:{commit_of(site)}"), "the same files are the same version"
    # Of two commits the newest comes, on the base that the line has.
    push_there(site, SAMPLES / "deltas" / "tinyllama" / "lora_qv")
    push_there(site, LORA_2)
    assert bring(site, client, follow(site, base="")).brought == ["team/lora:v2"]
    assert client.show("team/lora:v2").labels["imported.from"].endswith(commit_of(site, "org/lora:v3"))
    assert describe(note_of(client, follow(site, base=""))).startswith("team/lora:v2 is commit ")


def test_a_commit_that_was_here_before_is_not_pushed_when_the_branch_is_set_back_to_it(site, client):
    with site.client() as there:
        for delta in (LORA, LORA_2):
            ref = there.push(delta, "org/lora", base="tinyllama").version.ref
            site.verified(ref)
            there.promote(ref, "prod")
    of = follow(site, revision="prod")
    assert bring(site, client, of).brought == ["team/lora:v1"]
    with site.client() as there:
        there.promote("org/lora:v1", "prod", reason="no worse")
    assert bring(site, client, of).brought == ["team/lora:v2"]
    with site.client() as there:
        there.promote("org/lora:v2", "prod", reason="better")

    assert bring(site, client, of).there == 1
    assert numbers(client) == [2, 1]


def test_what_was_deleted_here_stays_so_on_any_machine(site, client, local_registry):
    of = follow(site)
    bring(site, client, of)
    client.versions.delete("team/lora:v1")

    other = local_registry.client()  # which has a cache of its own
    assert [bring(site, one, of).brought for one in (client, other)] == [[], []]
    assert client.show("team/lora:v1").is_deleted


def test_files_that_are_here_by_another_way_are_that_version_and_fetched_once(small_hub, client):
    client.push(LORA, "team/lora", base="tinyllama")
    of = follow(small_hub)

    reports = [bring(small_hub, client, of) for _ in range(2)]

    assert [(report.brought, report.there) for report in reports] == [([], 1)] * 2
    assert numbers(client) == [1]
    assert sorted(small_hub.given) == sorted(FILES)


KILLED = """
import os, signal, sys
from deltareg.client import Client
from deltareg.integrations.hub_lines import bring, hub, room
where, url, line = sys.argv[1:]
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
fetch = hub.Hub._fetch
def fetch_one(self, commit, file, folder):
    fetch(self, commit, file, folder)
    die()
if where == "fetching": hub.Hub._fetch = fetch_one
if where == "noting": room.HubRoom.keep = die
if where == "pushing": Client.push = die
with Client() as client:
    of = bring.FollowingLine(bring.HubRepository.parse(url), line, "tinyllama")
    report = bring.bring_newest(client, of, token=os.environ["HUB_TOKEN"])
    print(report.brought, report.there, report.left)
"""


@pytest.fixture
def machine(local_registry, tmp_path):
    """Start runs on machines of their own: a cache each."""

    def start(site, where="", name="one"):
        environ = os.environ | {
            "DELTAREG_SERVER": local_registry.url,
            "DELTAREG_TOKEN": local_registry.token("read", "push", principal="mirror"),
            "DELTAREG_CACHE_DIR": str(tmp_path / name),
            "DELTAREG_GOLDEN": "never",
            "HF_HUB_OFFLINE": "0",
            "HUB_TOKEN": site.hub_token,
        }
        command = [sys.executable, "-c", KILLED, where, f"{site.url}/org/lora", "team/lora"]
        return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.mark.slow
@pytest.mark.parametrize("where", ["fetching", "pushing", "noting"])
def test_a_run_that_is_killed_is_gone_on_with(small_hub, client, machine, where):
    killed = machine(small_hub, where)
    said, errors = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, errors

    said, errors = machine(small_hub).communicate()

    came = "[] 1 []" if where == "noting" else "['team/lora:v1'] 0 []"
    assert said.strip() == came, errors
    assert numbers(client) == [1]
    assert sorted(small_hub.given) == sorted(FILES), "no file came twice"


@pytest.mark.slow
@pytest.mark.parametrize("machines", [("one", "one"), ("one", "other")], ids=["a machine", "two machines"])
def test_two_runs_at_once_push_one_version(site, client, machine, machines):
    runs = [machine(site, name=name) for name in machines]
    said = [run.communicate() for run in runs]

    assert [run.returncode for run in runs] == [0, 0], said
    assert numbers(client) == [1]
    assert client.show("team/lora:v1").labels["imported.from"].endswith(commit_of(site))


def test_two_runs_at_once_in_one_process(both_databases, site, tmp_path):
    with both_databases.client() as one:
        one.bases.push(BASE, "tinyllama")
    clients = [both_databases.client() for _ in range(3)]
    reports = []
    start = threading.Barrier(len(clients))

    def run(client):
        start.wait()
        reports.append(bring(site, client, follow(site)))

    threads = [threading.Thread(target=run, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [report.left for report in reports] == [[]] * 3
    assert sum(len(report.brought) for report in reports) == 1
    assert numbers(clients[0]) == [1]


def test_a_run_beside_another_on_this_machine_leaves_it_to_that_one(site, client):
    of = follow(site)
    with of.room(client).alone():
        assert bring(site, client, of).left == ["team/lora: another run is at it"]
    assert note_of(client, of) == HubNote()


def test_another_base_is_told_once_and_tried_again_later_or_by_the_next_commit(site, client):
    client.bases.push(SAMPLES / "bases" / "tinyllama_other", "other")
    of = follow(site, base="other")

    first = bring(site, client, of)
    assert "says it was trained on tinyllama" in first.left[0]
    assert "tried again from" in first.left[0]
    assert commit_of(site)[:12] in first.left[0]
    before = note_of(client, of)
    assert bring(site, client, of).left == first.left
    assert note_of(client, of) == before, "it was not tried"
    bring(site, client, of, is_at_once=True)
    assert note_of(client, of).failures == 2
    push_there(site, LORA_2)
    bring(site, client, of)
    assert note_of(client, of).refused == commit_of(site, "org/lora:v2")
    with pytest.raises(NotFound):
        numbers(client)


def test_a_failure_that_is_over_leaves_no_trace(site, client):
    of = follow(site, base="later")
    assert "later" in bring(site, client, of).left[0]
    client.bases.push(BASE, "later")

    assert bring(site, client, of, is_at_once=True).brought == ["team/lora:v1"]
    assert note_of(client, of).failures == 0


def test_what_the_token_may_not_see_is_not_there_and_comes_with_one_that_may(site, client):
    with site.client() as there:
        there.namespaces.create("den", visibility="private")
        there.push(LORA, "den/secret", base="tinyllama")
    of = follow(site, repository="den/secret")

    assert f"{site.url} has no den/secret, or does not show it to this token" in bring(site, client, of).left[0]
    with site.client() as there:
        there.members.add("mirror", "reader", namespace="den")
    assert bring(site, client, of).left, "it waits"
    assert bring(site, client, of, is_at_once=True).brought == ["team/lora:v1"]


def test_a_branch_that_is_not_there_is_told(site, client):
    assert "org/lora has no dev" in bring(site, client, follow(site, revision="dev")).left[0]


def test_a_hub_that_does_not_answer_is_told_and_a_registry_that_does_not_is_raised(site, client, tmp_path):
    gone = FollowingLine(HubRepository.parse("http://127.0.0.1:9/org/lora"), "team/lora", "tinyllama")
    (left,) = bring(site, client, gone).left
    assert "http://127.0.0.1:9 does not answer for org/lora" in left
    assert bring(site, client, gone).left == [left], "nobody is asked while it waits"

    down = Client("http://127.0.0.1:9", token="none", cache_dir=tmp_path / "down")  # of nobody
    with pytest.raises(Unavailable):
        bring(site, down, follow(site))
    assert note_of(down, follow(site)) == HubNote()


def test_a_token_is_not_shown_over_plain_http(client):
    far = FollowingLine(HubRepository.parse("http://hub.example/org/lora"), "team/lora")
    with pytest.raises(Misconfigured, match="plain http"):
        bring_newest(client, far, token="hf_secret")  # of nobody


def test_without_the_hubs_library_it_says_what_to_install(site, client, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(Misconfigured) as raised:
        bring(site, client, follow(site))
    assert "deltareg[hub]" in raised.value.fix


class Answers(BaseHTTPRequestHandler):
    """A hub with one repository, as far as its client asks."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if self.path.startswith("/api/models/org/lora/revision/"):
            self._answer(json.dumps({"id": "org/lora", "sha": COMMIT, "siblings": _siblings()}).encode())
        elif self.server.gated:  # type: ignore[attr-defined]
            self._answer(b"", status=403, **{"X-Error-Code": "GatedRepo"})
        else:
            name = self.path.rpartition("/")[2].partition("?")[0]
            raw = FILES[name]
            if name == self.server.damaged:  # type: ignore[attr-defined]
                raw = raw[:-1] + bytes([raw[-1] ^ 1])
            self._answer(raw, ETag=f'"{hashlib.sha1(FILES[name]).hexdigest()}"')  # as the hub has them

    def _answer(self, raw, status=200, **headers):
        self.send_response(status)
        for name, text in {"X-Repo-Commit": COMMIT, "Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(raw)
            if "ETag" in headers:
                self.server.given.append(self.path.rpartition("/")[2].partition("?")[0])  # type: ignore[attr-defined]

    def log_message(self, *_):
        pass


def _siblings():
    def lfs(raw):
        return {"lfs": {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw), "pointerSize": 130}}

    return [
        {"rfilename": name, "size": len(raw)} | (lfs(raw) if name.endswith(".safetensors") else {})
        for name, raw in [*FILES.items(), ("training_args.bin", b"1234"), (".gitattributes", b"")]
    ]


@pytest.fixture
def small_hub():
    """Run such a hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.gated, server.damaged, server.hub_token, server.given = False, "", "", []  # type: ignore[attr-defined]
    server.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_gated_repository_is_told_and_comes_when_access_is_given(small_hub, client):
    of = follow(small_hub)
    small_hub.gated = True

    assert f"org/lora is gated at {small_hub.url}" in bring(small_hub, client, of).left[0]
    small_hub.gated = False
    assert bring(small_hub, client, of, is_at_once=True).brought == ["team/lora:v1"]
    assert client.show("team/lora:v1").labels["imported.from"] == f"{small_hub.url}/org/lora/tree/{COMMIT}"


def test_a_file_that_is_not_what_the_hub_said_is_not_pushed_and_fetched_again(small_hub, client):
    of = follow(small_hub)
    small_hub.damaged = "adapter_model.safetensors"

    assert "adapter_model.safetensors is not what" in bring(small_hub, client, of).left[0]
    small_hub.damaged = ""
    assert bring(small_hub, client, of, is_at_once=True).brought == ["team/lora:v1"]


def wanted(*paths, size=1):
    return [file.path for file in HubCommit(COMMIT, [HubFile(path, size) for path in paths]).choose_files()]


def test_the_files_of_an_adapter_are_fetched_and_nothing_of_its_training():
    mine = ("README.md", "adapter_config.json", "adapter_model.safetensors")
    assert wanted(*mine, ".gitattributes", "training_args.bin", "checkpoint-7/optimizer.pt", "plot.png") == [*mine]
    assert wanted(*mine, "adapter_model.bin") == [*mine]


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        (("adapter_config.json", "adapter_model.bin"), "pickles and no safetensors"),
        (("README.md",), "no safetensors file"),
        (("adapter_model.safetensors", "value_head.bin"), "value_head.bin"),
        (("adapter_model.safetensors", "handler.py"), "handler.py"),
    ],
)
def test_pickles_and_code_are_refused_before_any_byte_comes(paths, why):
    with pytest.raises(Refused, match=why):
        wanted(*paths)


def test_paths_that_lead_elsewhere_and_more_than_an_adapter_may_are_refused():
    assert wanted("adapter_model.safetensors", "a/../../b.json") == ["adapter_model.safetensors"]
    for path in ("/etc/b.json", "a//b.json", "a\\b.json", "con.json"):
        with pytest.raises(InvalidInput, match="portable"):
            wanted("adapter_model.safetensors", path)
    with pytest.raises(Refused, match="at most"):
        wanted("adapter_config.json", "adapter_model.safetensors", size=2 << 30)


@pytest.mark.parametrize(
    "url",
    ["https://hub.example", "https://hub.example/lora", "https://u:t@hub.example/org/lora", "ftp://hub.example/org/l"],
)
def test_what_is_no_address_of_a_repository_is_refused(url):
    with pytest.raises(InvalidInput):
        HubRepository.parse(url)


def test_each_failure_waits_twice_as_long_up_to_a_day():
    note, waits = HubNote(), list[float]()
    for _ in range(10):
        note = note.after(COMMIT, "no", 1_000.0)
        waits.append(note.next_at - 1_000.0)
    assert waits == [600, 1200, 2400, 4800, 9600, 19200, 38400, 76800, 86400, 86400]
    assert note.is_waiting(1_001.0)
    assert not note.is_waiting(999.0), "a clock that was set back"
    assert note.after("", "down", 1_000.0).failures == 1


def test_the_command_line_names_runs_lists_and_forgets(site, user, monkeypatch):
    monkeypatch.setenv("DELTAREG_MIRROR_TOKEN", site.hub_token)
    user("base", "push", BASE, "tinyllama")
    url = f"{site.url}/org/lora"

    refused = user("mirror", "add", url, "--push", "--line", "me/lora")
    added = user("mirror", "add", url, "--pull", "--line", "me/lora", "--base", "tinyllama", "--json")
    ran = user("mirror", "run", "--json")
    listed = user("mirror", "ls", "--json")
    gone = user("mirror", "rm", "org-lora")

    assert refused.status == 2
    assert (added.status, added.json["name"], added.json["line"]) == (0, "org-lora", "me/lora")
    assert (ran.status, ran.json["brought"]) == (0, ["me/lora:v1"]), ran.err
    assert listed.json["items"][0]["state"] == f"me/lora:v1 is commit {commit_of(site)[:12]}"
    assert gone.status == 0
    user("mirror", "add", f"{site.url}/org/none", "--pull", "--line", "me/none")
    failed = user("mirror", "run")
    assert failed.status == 5
    assert "has no org/none" in " ".join(failed.out.split())


def test_a_token_for_the_hub_is_kept_as_other_tokens_are(site, user, monkeypatch):
    user("base", "push", BASE, "tinyllama")
    with site.client() as there:
        there.namespaces.create("den", visibility="private")
        there.push(LORA, "den/secret", base="tinyllama")
    token = member(site, "robot", "read")
    with site.client() as there:
        there.members.add("robot", "reader", namespace="den")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{token}\n"))
    words = ("--pull", "--line", "me/lora", "--base", "tinyllama", "--token-stdin")

    assert user("mirror", "add", f"{site.url}/den/secret", *words).status == 0
    assert token_path(site.url).read_text().strip() == token
    assert user("mirror", "run").status == 0
