"""Files that several commands on one machine change at once: nothing that one of them wrote is lost."""

import json
import stat
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deltareg.client.bases.bases import remember_base, remembered_places
from deltareg.client.cache.cache import Cache
from deltareg.client.config_file import set_value
from deltareg.client.folders.known_folders import remember_version
from deltareg.client.mirror.known_mirrors import KnownMirror, add_mirror, known_mirrors, remove_mirror
from deltareg.client.trust.trusted_keys import pin_path, pinned_keys, trusted_keys
from deltareg.digest import Digest
from deltareg.host.shared_files import change_file
from tests.client.agents import SCOPES

SERVER = "http://127.0.0.1:8642"
WRITERS, CHANGES = 8, 24


@pytest.fixture(autouse=True)
def often_interrupted():
    """Let threads take turns between nearly all statements, as processes do on many cores."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def own_settings(tmp_path, monkeypatch):
    """Give a folder of settings that nobody else uses."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "deltareg"


def all_at_once(act):
    """Call something with each number, in threads, as commands in processes would."""
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(act, range(CHANGES)))


def test_mirrors_that_are_added_at_once_are_all_known(own_settings):
    all_at_once(lambda n: add_mirror(KnownMirror(f"m{n}", SERVER, f"https://m{n}.example", "pull")))

    assert len(known_mirrors(SERVER)) == CHANGES


def test_mirrors_that_are_removed_at_once_are_all_gone(own_settings):
    for n in range(CHANGES):
        add_mirror(KnownMirror(f"m{n}", SERVER, f"https://m{n}.example", "pull"))

    all_at_once(lambda n: remove_mirror(SERVER, f"m{n}"))

    assert known_mirrors(SERVER) == {}


def test_settings_that_are_written_at_once_all_stand(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("# mine\n")
    path.chmod(0o600)

    all_at_once(lambda n: set_value(path, f"key{n}", str(n)))

    assert len(tomllib.loads(path.read_text())) == CHANGES
    assert path.read_text().startswith("# mine\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]


def test_places_of_bases_that_are_noted_at_once_are_all_known(tmp_path):
    cache = Cache(tmp_path)

    all_at_once(lambda n: remember_base(cache, Digest.parse(f"sha256:{n:064x}"), tmp_path / str(n)))

    assert len(remembered_places(cache)) == CHANGES


def test_folders_of_one_version_that_are_noted_at_once_are_all_known(tmp_path):
    cache, digest = Cache(tmp_path), Digest.parse(f"sha256:{1:064x}")
    for _ in range(6):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: remember_version(cache, digest, tmp_path / str(n), {}), range(4)))

        note = json.loads(cache.note(f"version-{digest.hex}") or b"")
        assert {Path(place["path"]).name for place in note["places"]} == {"0", "1", "2", "3"}
        (tmp_path / "digests" / f"version-{digest.hex}").unlink()


def test_versions_that_are_locked_at_once_are_all_in_the_file(local_registry, tmp_path, monkeypatch):
    local_registry.line("lora")
    monkeypatch.chdir(tmp_path)
    clients = [local_registry.client(SCOPES, principal="maker") for _ in range(4)]
    file = tmp_path / "delta.lock"

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: clients[n].folders.lock(file, add=[("team/lora:v1", f"f{n}")]), range(4)))

    locked = tomllib.loads(file.read_text())
    assert [each["folder"] for each in locked["delta"]] == ["f0", "f1", "f2", "f3"]


def test_what_a_program_without_locks_wrote_meanwhile_stays(tmp_path):
    path = tmp_path / "shared"
    seen = []

    def change(before):
        seen.append(before)
        if len(seen) == 1:  # what another program does between reading and writing
            path.write_bytes(b"theirs")
        return (before or b"") + b" and ours"

    change_file(path, change)

    assert seen == [None, b"theirs"]
    assert path.read_bytes() == b"theirs and ours"


def test_keys_that_were_pinned_meanwhile_stay(local_registry, own_settings):
    client = local_registry.client(SCOPES)
    context = client.lines._context
    trusted_keys(context)
    path = pin_path(context.config.server)

    all_at_once(lambda _: trusted_keys(context, takes_new=True))

    assert pinned_keys(context.config.server) == trusted_keys(context)[0]
    assert [each.name for each in path.parent.iterdir()] == [path.name]
