"""What vLLM was given by name is looked after: its revocation, its folder, the room for all."""

import shutil

import httpx
import pytest

from deltareg.client.follow.by_name import watching
from deltareg.client.follow.by_name.finding import ByNameOptions, VersionFinder
from deltareg.client.follow.by_name.holding import SharedFolders
from deltareg.client.follow.by_name.watching import VersionWatcher
from deltareg.client.follow.release import Release
from deltareg.client.follow.vllm_server import VllmServer
from deltareg.digest import Digest
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef
from tests.client.agents import LINE
from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES
from tests.fixtures.vllm_stub import read_adapter

V1, V2 = f"{LINE}:v1", f"{LINE}:v2"
PLENTY = 1 << 30


@pytest.fixture
def maker(local_registry):
    """Put v1 and then v2 of `team/lora` on prod."""
    return local_registry.line("lora", "lora_v2")


class Host:
    """A vLLM with its plug-in, whose rounds are gone by hand and whose clock is set."""

    def __init__(self, client, vllm, home, *, max_bytes=PLENTY, url=None):
        self.vllm, self.now = vllm, 0.0
        context = client._context
        options = ByNameOptions(home, max_bytes, "vllm")
        self.server = VllmServer(url or vllm.url)
        self.finder = VersionFinder(context, options, clock=lambda: self.now)
        self.watcher = VersionWatcher(context, self.finder, self.server, max_bytes=max_bytes, clock=lambda: self.now)

    def load(self, *names):
        """Do as vLLM does when its clients ask."""
        for name in names:
            folder = self.finder.find(name, self.vllm.base)
            if folder is not None:
                self.vllm.adapters[name] = read_adapter(name, folder, max_rank=16)

    def round(self):
        self.watcher.look_at_folders()
        self.watcher.ask()
        self.watcher.settle()


@pytest.fixture
def host(local_registry, maker, vllm, tmp_path):
    vllm.base = str(SAMPLES / "bases" / "tinyllama")
    made = Host(local_registry.client(("read",), principal="host"), vllm, tmp_path / "by-name")
    yield made
    made.server.close()


def test_a_version_that_is_revoked_is_unloaded_in_the_next_round(host, vllm, maker, caplog):
    host.load(V1, V2)
    host.round()
    assert vllm.names() == [V1, V2]

    maker.versions.revoke(V1, reason="it leaks")
    host.round()
    host.load(V1)

    assert vllm.names() == [V2]
    assert f"{V1} is unloaded: {V1} was revoked by maker: it leaks" in caplog.messages


def test_one_that_is_revoked_on_its_way_is_unloaded_when_it_is_there(host, vllm, maker):
    folder = host.finder.find(V1, vllm.base)
    maker.versions.revoke(V1, reason="it leaks")
    host.round()

    vllm.adapters[V1] = read_adapter(V1, folder, max_rank=16)
    host.round()

    assert vllm.names() == []


def test_the_thread_goes_round_by_itself(host, vllm, maker, monkeypatch):
    monkeypatch.setattr(watching, "FOLDERS_S", 0.01)
    monkeypatch.setattr(watching, "REGISTRY_S", 0.0)
    host.load(V1)
    host.watcher.start()
    try:
        maker.versions.revoke(V1, reason="it leaks")
        until(lambda: vllm.names() == [], "it is unloaded")
    finally:
        host.watcher.stop()


def test_one_that_vllm_keeps_is_told_of_once_and_tried_again(host, vllm, maker, caplog):
    host.load(V1)
    vllm.stuck.add(V1)
    maker.versions.revoke(V1, reason="it leaks")

    host.round()
    host.round()
    told = [line for line in caplog.messages if line.startswith(f"{V1} stays loaded although")]
    vllm.stuck.clear()
    host.round()

    assert len(told) == 1
    assert vllm.names() == []


def test_a_registry_that_is_away_ends_nothing(host, vllm, local_registry, break_network, caplog):
    proxy = break_network(local_registry.url)
    client = local_registry.client(("read",), principal="host", server=proxy.url, retries=0)
    far = Host(client, vllm, host.finder.folders.versions.parent)
    far.load(V1)
    for _ in range(20):
        proxy.breaks(r".", "reset")

    far.round()
    far.round()

    assert vllm.names() == [V1]
    assert len([line for line in caplog.messages if "registry cannot be asked" in line]) == 1
    far.server.close()


def test_a_folder_that_somebody_deleted_or_wrote_into_is_made_anew(host, vllm):
    host.load(V1, V2)
    one, two = vllm.adapters[V1].path, vllm.adapters[V2].path
    shutil.rmtree(one)
    (two / "adapter_config.json").write_text("{}")

    host.watcher.look_at_folders()

    for name in (V1, V2):
        text = httpx.post(f"{vllm.url}/v1/completions", json={"model": name}, verify=False).json()
        assert text["choices"][0]["text"] == vllm.adapters[name].digest
    assert not vllm.is_dead


def test_what_cannot_be_made_anew_is_unloaded(host, vllm, maker):
    host.load(V1, V2)
    shutil.rmtree(vllm.adapters[V1].path)
    maker.versions.revoke(V1, reason="it leaks")

    host.watcher.look_at_folders()
    host.watcher.settle()

    assert vllm.names() == [V2]


def test_folders_that_an_engine_has_stay_whoever_prunes(host, vllm, tmp_path):
    host.load(V1, V2)
    other = SharedFolders(tmp_path / "by-name")

    assert other.prune(0) == []
    vllm.adapters.pop(V1)
    host.now = 400.0
    host.round()
    assert other.prune(0) == []  # what waits may still be loaded from it
    host.now = 800.0
    host.round()
    (gone,) = other.prune(0)

    assert gone.startswith("team--lora--v1-")
    assert [path.name[:15] for path in other.versions.iterdir()] == ["team--lora--v2-"]


def test_what_an_engine_that_was_killed_had_is_free(local_registry, maker, vllm, host, tmp_path):
    release = Release(LineRef.parse(LINE), 1, Digest.parse(maker.show(V1).digest))
    folders = SharedFolders(tmp_path / "by-name")
    hold, _ = folders.hold(maker._context, release)
    assert folders.prune(0) == []

    hold.let_go()

    assert folders.prune(0) == [release.folder]
    folders.hold(maker._context, release)[0].let_go()
    assert list(folders.sizes()) == [release.folder]


def test_the_bound_takes_the_longest_unused_first_and_no_more(maker, tmp_path):
    folders = SharedFolders(tmp_path / "by-name")
    releases = [
        Release(LineRef.parse(LINE), number, Digest.parse(maker.show(f"{LINE}:v{number}").digest)) for number in (1, 2)
    ]
    for release in releases:
        folders.hold(maker._context, release)[0].let_go()
    folders.hold(maker._context, releases[0])[0].let_go()  # used again

    gone = folders.prune(max(folders.sizes().values()))

    assert gone == [releases[1].folder]


def test_where_all_that_is_loaded_is_too_much_the_first_is_unloaded(local_registry, host, vllm):
    host.load(V1)
    host.now = 1.0
    host.load(V2)
    sizes = host.finder.folders.sizes()
    host.watcher._max_bytes = max(sizes.values())

    host.now = 200.0
    host.round()
    assert vllm.names() == [V1, V2]  # what was just given may still be on its way
    host.now = 400.0
    host.round()
    assert vllm.names() == [V2]
    host.load(V1)

    assert vllm.names() == [V1, V2]


def test_another_server_at_the_address_is_told_of_and_left_alone(host, vllm, maker, caplog):
    host.load(V1)
    maker.versions.revoke(V1, reason="it leaks")
    vllm.base, ours = "/other/base", vllm.base
    host.round()
    host.round()

    assert vllm.names() == [V1]
    told = [line for line in caplog.messages if "DELTAREG_VLLM_URL" in line]
    assert told == [
        f"vLLM at {vllm.url} serves /other/base, and the one here {ours}, so nothing can be"
        " unloaded; DELTAREG_VLLM_URL names the address at which vLLM listens, from here"
    ]


def test_the_folder_of_an_agent_is_not_taken(tmp_path):
    (tmp_path / ".follower").touch()

    with pytest.raises(InvalidInput, match="is kept by an agent"):
        SharedFolders(tmp_path)
