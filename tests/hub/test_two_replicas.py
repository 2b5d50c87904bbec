"""Commits of the hub's client at two server processes of one database and one store.

A client reaches either, by chance. Of commits over one parent one is made, and of commits over none all are,
each over what the one before it made.
"""

import base64
import hashlib
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from deltareg.errors import DeltaregError
from deltareg.wire import TokenCreate
from tests.hub.conftest import BASE, LORA, LORA_2

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]
PEOPLE = ("ann", "bob")


class Pair:
    """Two servers, and clients of the hub for people at each."""

    def __init__(self, servers, folder):
        self.servers, self.folder = servers, folder
        with self.admin() as admin:
            admin.bases.push(BASE, "tinyllama", hub_ids=["bases/tinyllama"])
            wanted = [
                TokenCreate(principal=name, scopes=["read", "push", "promote", "admin"], everywhere=True)
                for name in PEOPLE
            ]
            self.tokens = [admin.tokens.create(each).token for each in wanted]

    def admin(self, number=0):
        return self.servers[number].client(self.folder / "cache", token=self.servers[0].token)

    def api(self, number, person=0):
        """Give a client at a server, of a person."""
        return HfApi(endpoint=self.servers[number].url, token=self.tokens[person])

    def apis(self):
        """Give clients of everybody at each server."""
        return [self.api(number, person) for number in (0, 1) for person in range(len(PEOPLE))]

    def versions(self, line="team/both"):
        with self.admin(1) as admin:
            return {row.version: row.digest for row in admin.versions.list(line)}


@pytest.fixture
def pair(processes, postgresql_url, tmp_path):
    shared = {"database_url": postgresql_url, "store_url": (tmp_path / "blobs").as_uri(), "hub": "true"}
    return Pair([processes.api(f"s{n}", **shared).start() for n in (0, 1)], tmp_path)


def at_once(calls):
    """Make calls at one moment; give the result of each, or the error."""
    barrier = threading.Barrier(len(calls))

    def call(function):
        barrier.wait()
        try:
            return function()
        except HfHubHTTPError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def adding(api, path, *, line="team/both", parent=None):
    """Give a call that adds a file."""
    operation = CommitOperationAdd(path_in_repo=path, path_or_fileobj=json.dumps({"of": path}).encode())
    return lambda: api.create_commit(
        line, operations=[operation], commit_message=f"add {path}", parent_commit=parent, num_threads=1
    )


def errors_of(results):
    return [one for one in results if isinstance(one, HfHubHTTPError)]


def statuses(results):
    return sorted(one.response.status_code for one in errors_of(results))


def test_of_commits_over_one_parent_one_is_made(pair):
    apis = pair.apis()
    parent = apis[0].upload_folder(folder_path=LORA, repo_id="team/both").oid

    for number in range(2):
        calls = [adding(api, f"r{number}-{n}.json", parent=parent) for n, api in enumerate(apis)]
        results = at_once(calls)

        [made] = [one for one in results if not isinstance(one, HfHubHTTPError)]
        assert statuses(results) == [412] * 3, results
        assert all("main is" in str(error) for error in errors_of(results))
        assert apis[3].model_info("team/both").sha == made.oid
        parent = made.oid
    assert sorted(pair.versions()) == [1, 2, 3]


def test_of_commits_over_no_parent_none_loses_a_file(pair):
    apis = pair.apis()
    apis[0].upload_folder(folder_path=LORA, repo_id="team/both")

    results = at_once([adding(api, f"{n}.json") for n, api in enumerate(apis)])

    assert errors_of(results) == []
    files = {*apis[2].list_repo_files("team/both")}
    assert files == {path.name for path in LORA.iterdir()} | {f"{n}.json" for n in range(4)}
    history = [commit.commit_id for commit in apis[1].list_repo_commits("team/both")]
    assert len(history) == 5
    assert {one.oid for one in results} == {*history[:-1]}
    assert {digest[7:47] for digest in pair.versions().values()} == {*history}


def test_the_first_version_is_made_once(pair):
    results = at_once([lambda api=api: api.upload_folder(folder_path=LORA, repo_id="team/both") for api in pair.apis()])

    assert errors_of(results) == []
    assert len({one.oid for one in results}) == 1
    assert sorted(pair.versions()) == [1]


def test_a_draft_that_is_begun_at_both_is_one(pair):
    """A README at one server and weights at the other: in whatever order they come, both are there."""
    one, other = pair.api(0), pair.api(1)
    for number in range(2):
        line = f"team/draft{number}"
        readme, weights = adding(one, "extra.json", line=line), other.upload_folder

        results = at_once([readme, lambda line=line, push=weights: push(folder_path=LORA, repo_id=line)])

        assert errors_of(results) == []
        assert "extra.json" in one.list_repo_files(line)
        newest = max(pair.versions(line))
        assert "extra.json" in other.list_repo_files(line, revision=f"v{newest}")


def test_a_tag_is_put_on_one_version(pair):
    apis = pair.apis()
    for folder in (LORA, LORA_2):
        apis[0].upload_folder(folder_path=folder, repo_id="team/both")

    for tag in ("best", "1.4.0", "good", "1.5.0"):
        calls = [
            lambda api=api, n=n, tag=tag: api.create_tag("team/both", tag=tag, revision=f"v{1 + n % 2}")
            for n, api in enumerate(apis)
        ]
        results = at_once(calls)

        assert statuses(results) == [409] * 3, results
        assert [ref.name for ref in apis[1].list_repo_refs("team/both").tags].count(tag) == 1
        if tag in {"best", "1.4.0"}:
            with pair.admin() as admin:
                having = [r for r in admin.versions.list("team/both") if tag in r.labels or r.semver == tag]
            assert len(having) == 1


def test_what_was_sent_to_one_is_committed_at_the_other(pair):
    """As clients do it with Git LFS: asked for at one server, sent to the other, and committed at the first."""
    raw = {path.name: path.read_bytes() for path in LORA.iterdir()}
    large = "adapter_model.safetensors"
    oid = hashlib.sha256(raw[large]).hexdigest()
    first, second = (httpx.Client(base_url=server.url, timeout=60) for server in pair.servers)
    own = {"Authorization": f"Bearer {pair.tokens[0]}"}

    asked = {"operation": "upload", "objects": [{"oid": oid, "size": len(raw[large])}]}
    with first, second:
        batch = first.post("/team/both.git/info/lfs/objects/batch", json=asked, headers=own).json()
        place = httpx.URL(batch["objects"][0]["actions"]["upload"]["href"]).path
        assert second.put(place, content=raw[large]).status_code == 200
        lines = [{"key": "header", "value": {"summary": "s"}}]
        lines += [{"key": "lfsFile", "value": {"path": large, "oid": oid, "size": len(raw[large]), "algo": "sha256"}}]
        for path in sorted(raw.keys() - {large}):
            content = base64.b64encode(raw[path]).decode()
            lines.append({"key": "file", "value": {"path": path, "content": content}})
        body = "\n".join(map(json.dumps, lines))
        made = first.post("/api/models/team/both/commit/main", content=body, headers=own)

    assert made.status_code == 200, made.text
    assert {*pair.api(1).list_repo_files("team/both")} == {*raw}


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_commits_go_on_while_servers_die_and_the_line_is_renamed(pair):
    """Each writer repeats what was not answered, at either server; in the end everything is there, once."""
    apis, chance, stop = pair.apis(), random.Random(3), threading.Event()
    apis[0].upload_folder(folder_path=LORA, repo_id="team/both")
    written: list[str] = []

    def write(writer):
        for number in range(6):
            path = f"w{writer}-{number}.json"
            for attempt in range(60):
                api = pair.api((writer + attempt) % 2, writer % 2)
                try:
                    adding(api, path)()
                    break
                except Exception as error:  # a lost connection is called otherwise in each release
                    status = getattr(getattr(error, "response", None), "status_code", 503)
                    if status not in {409, 429, 502, 503, 504}:
                        raise
                    time.sleep(0.3)
            else:
                pytest.fail(f"{path} was never committed")
            written.append(path)

    def disturb():
        names = ["team/both", "team/moved"]
        while not stop.wait(chance.uniform(2.0, 5.0)):
            victim = pair.servers[chance.randrange(2)]
            victim.kill()
            with suppress(DeltaregError), pair.admin(1 - pair.servers.index(victim)) as admin:
                admin.lines.rename(*names)
                names.reverse()
            victim.start()

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
    finally:
        stop.set()
        disturbing.join()

    files = [*pair.api(0).list_repo_files("team/both")]
    assert {*files} == {path.name for path in LORA.iterdir()} | {*written}
    assert len(written) == 24
    with pair.admin() as admin:
        assert len([row.ref for row in admin.lines.list() if row.ref.startswith("team/")]) == 1
        assert admin.storage.fsck().findings == []
    numbers = sorted(pair.versions())
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) <= 25
