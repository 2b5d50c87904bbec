"""Lock files: stable texts, folders made what they say, drift told, and nothing outside touched."""

import json
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from deltareg.client import Client, ClientConfig
from deltareg.client.pull.lock_file import read_lock
from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import Blocked, Conflict, InvalidInput, NotFound, Unavailable
from tests.service import rows

V1, V2 = "team/lora:v1", "team/lora:v2"


@pytest.fixture
def two(local_registry):
    """Serve v2 of a line on prod, after v1."""
    return local_registry.line("lora", "lora_v2")


@pytest.fixture
def file(two, tmp_path):
    """Lock what prod serves and v1."""
    path = tmp_path / "project" / "delta.lock"
    path.parent.mkdir()
    two.folders.lock(path, add=[("team/lora@prod", path.parent / "models" / "chat")])
    two.folders.lock(path, add=[(V1, path.parent / "models" / "old")])
    return path


def steps(report):
    return [each.step for each in report.folders]


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_lock_names_everything_by_content_and_is_stable(two, file):
    text = file.read_text()
    found = tomllib.loads(text)

    again = two.folders.lock(file)

    assert not again.is_changed
    assert file.read_text() == text
    assert [(d["folder"], d["asked"], d["ref"], d["digest"]) for d in found["delta"]] == [
        ("models/chat", "team/lora@prod", V2, two.show(V2).digest),
        ("models/old", V1, V1, two.show(V1).digest),
    ]
    base = two.bases.show("tinyllama")
    (locked,) = found["base"]
    assert (locked["name"], locked["identity"]) == ("tinyllama", base.identity)
    assert locked["parts"] == base.parts
    two.rollback("team/lora", "prod", reason="back")
    changed = two.folders.lock(file)
    before, after = text.splitlines(), file.read_text().splitlines()
    assert [each.was for each in changed.folders] == [V2, V1]
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 2, "ref and digest"
    two.folders.lock(file, drop=[file.parent / "models" / "old"])
    assert [each.folder for each in read_lock(file).deltas] == ["models/chat"]
    with pytest.raises(NotFound, match="is not locked"):
        two.folders.lock(file, drop=[file.parent / "other"])
    with pytest.raises(InvalidInput, match="does not lie below"):
        two.folders.lock(file, add=[(V1, file.parent.parent / "beside")])
    two.versions.revoke(V1, reason="wrong data", even_if_served=True)
    with pytest.raises(Blocked, match="revoked"):
        two.folders.lock(file)


def test_folders_are_made_what_the_lock_says(two, file, tmp_path, local_registry):
    chat, old = file.parent / "models" / "chat", file.parent / "models" / "old"
    plan = two.folders.sync(file, is_plan=True)
    assert (steps(plan), plan.is_drifted, chat.exists()) == (["fetched", "fetched"], True, False)

    first, second = two.folders.sync(file), two.folders.sync(file, frozen=True)

    assert (steps(first), steps(second)) == (["fetched"] * 2, ["kept"] * 2)
    assert not second.is_drifted
    assert files_of(chat) == files_of(two.pull(V2, tmp_path / "plain").path)
    (old / "adapter_config.json").write_text("{}")
    frozen = two.folders.sync(file, frozen=True)
    assert (steps(frozen), frozen.is_drifted) == (["kept", "drift"], True)
    assert (old / "adapter_config.json").read_text() == "{}", "nothing is changed then"
    assert steps(two.folders.sync(file)) == ["kept", "replaced"]
    assert files_of(old) == files_of(two.pull(V1).path)
    (chat / "mine.txt").write_text("kept")
    with pytest.raises(Conflict, match=r"mine\.txt"):
        two.folders.sync(file)
    (chat / "mine.txt").unlink()

    two.versions.revoke(V1, reason="wrong data")
    revoked = two.folders.sync(file, frozen=True)
    assert [(each.step, each.why) for each in revoked.folders][1] == ("drift", f"{V1} is revoked")
    two.versions.unrevoke(V1, reason="right")
    with write(local_registry.registry.engine) as conn, rows.unguarded(conn, t.base_identities):
        other = {**two.bases.show("tinyllama").parts, "tokenizer": f"sha256:{'0' * 64}"}
        conn.execute(sa.update(t.base_identities).values(identity="blake3:other", parts=other))
    drifted = two.folders.sync(file, frozen=True)
    assert {each.why for each in drifted.folders} == {"the base tinyllama is another one: tokenizer"}


def test_two_at_once_come_to_the_same_and_without_a_server_the_cache_serves(two, file, local_registry):
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: two.folders.sync(file), range(4)))
    assert all(set(steps(report)) <= {"kept", "fetched"} for report in done)
    assert not two.folders.sync(file, frozen=True).is_drifted
    config = ClientConfig(server="http://127.0.0.1:9", cache_dir=two.config.cache_dir, retries=0, patience_s=0.0)

    with Client(config) as offline:
        assert steps(offline.folders.sync(file)) == ["kept", "kept"]
        shutil.rmtree(file.parent / "models")
        with pytest.raises(Unavailable):
            offline.folders.sync(file)
        for ref in (V1, V2):
            two.pull(ref)  # into the cache
        assert steps(offline.folders.sync(file)) == ["fetched", "fetched"]
        assert steps(offline.folders.sync(file)) == ["kept", "kept"]
        with pytest.raises(Unavailable):
            offline.folders.sync(file, frozen=True)


HOSTILE = {
    "a folder outside": ("models/chat", "../../etc"),
    "a folder from the root": ("models/chat", "/etc"),
    "the folder of the file": ("models/chat", "."),
    "a folder within": ("models/chat", "models/old/in"),
    "one folder twice": ("models/chat", "models/old"),
    "dots in between": ("models/chat", "models/../chat"),
    "a backslash": ("models/chat", "models\\\\chat"),
    "no digest": ("sha256:", "sha257:"),
    "a short digest": ('digest = "sha256:', 'digest = "sha256:ff"\nkind = "x"\nx = "'),
    "another form": ("deltareg.lock/1", "deltareg.lock/2"),
    "a key of later": ("asked =", "asks ="),
    "no TOML": ("[[delta]]", "[[delta"),
    "no version": (f'ref = "{V2}"', 'ref = "team/lora"'),
    "no reference": (f'ref = "{V2}"', 'ref = "../../x:v1"'),
}


def test_no_lock_leads_elsewhere(two, file, tmp_path):
    text = file.read_text()
    for name, (old, new) in HOSTILE.items():
        file.write_text(text.replace(old, new, 1))
        with pytest.raises(InvalidInput):
            two.folders.sync(file)
        assert not (file.parent / "models").exists(), name
    file.write_text(text)
    (tmp_path / "elsewhere").mkdir()
    (file.parent / "models").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="is a link out of"):
        two.folders.sync(file)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    file.write_text(text + "#" * (1 << 20))
    with pytest.raises(InvalidInput, match="more than 1 MiB"):
        two.folders.sync(file)
    with pytest.raises(NotFound, match="there is no"):
        two.folders.sync(tmp_path / "none.lock")


def test_folders_are_held_against_what_the_channel_serves(two, tmp_path, monkeypatch):
    two.pull(V1, tmp_path / "one")
    two.pull(V2, tmp_path / "two")

    def found(*paths, **more):
        report = two.folders.list_outdated(*paths, **more)
        return [(each.folder.name, each.standing) for each in report.folders]

    assert found(tmp_path) == [("one", "behind"), ("two", "current")]
    assert found(tmp_path / "one", channel="staging") == [("one", "superseded")]
    two.rollback("team/lora", "prod", reason="back")
    assert found(tmp_path) == [("one", "current"), ("two", "ahead")]
    two.versions.revoke(V2, reason="wrong data")
    assert found(tmp_path / "two") == [("two", "revoked")]
    monkeypatch.chdir(tmp_path)
    assert found() == [("one", "current"), ("two", "revoked")]
    two.folders.lock("delta.lock", add=[(V1, "one")])
    assert found() == found(tmp_path / "delta.lock") == [("one", "current")]
    two.versions.unrevoke(V2, reason="right")
    two.versions.delete(V2)
    assert found(tmp_path / "two") == [("two", "gone")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="nothing is known of what"):
        found(tmp_path / "empty")
    with pytest.raises(NotFound, match="there is no folder"):
        found(tmp_path / "none")


KILLED = """
import json, os, shutil, signal, sys, time
from pathlib import Path
from deltareg.client import Client, ClientConfig
from deltareg.client.use_cases import sync  # all that it needs is loaded before the clock runs
server, token, cache, file = sys.argv[1:]
def start(at):
    pid = os.fork()
    if pid:
        return pid
    config = ClientConfig(server=server, token=token, cache_dir=Path(cache) / at)
    with Client(config) as client:
        client.folders.sync(file)
    os._exit(0)
def end(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
began = time.monotonic()
assert end(start("first")) == 0
whole, found = time.monotonic() - began, []
for step in range(24):
    shutil.rmtree(Path(file).parent / "models")
    pid = start(str(step))
    time.sleep(whole * step / 20)  # the fault itself: where it hits is up to chance
    os.kill(pid, signal.SIGKILL)
    end(pid)
    for folder in Path(file).parent.glob("models/[a-z]*"):
        found.append(sorted(path.name for path in folder.iterdir()))
    (Path(file).parent / "models").mkdir(exist_ok=True)
print(json.dumps(found))
"""


@pytest.mark.soak
@pytest.mark.usefixtures("forked")
def test_killed_at_any_moment_a_folder_is_the_old_one_or_the_new_one(two, file, local_registry):
    token, cache = local_registry.token("read"), two.config.cache_dir
    arguments = [local_registry.url, token, str(cache), str(file)]
    ended = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=True)

    whole = sorted(path.name for path in two.pull(V1).path.iterdir())
    seen = json.loads(ended.stdout)

    assert seen, "some got through"
    assert all(names == whole for names in seen)
    two.folders.sync(file)
    assert not two.folders.sync(file, frozen=True).is_drifted
    assert not [path for path in Path(file).parent.rglob(".deltareg*") if path.is_dir()]
