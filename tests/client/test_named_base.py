"""`--base` left out: the base that the adapter's own config names, if that is one base."""

import json
import shutil

import pytest

from deltareg.errors import InvalidInput, Refused
from tests import tiny
from tests.fixtures.registries import BOTH_DATABASES, ONE_STACK

REVISION = "0e9e39f249a16976918f6564b8830bc894c89659"


@pytest.fixture
def client(registry_server):
    return registry_server.client()


@pytest.fixture
def named(tmp_path):
    """Write a base and a LoRA whose config names it in some way."""
    base = tiny.base(tmp_path / "base")

    def write(name, revision=None):
        folder = tmp_path / "delta"
        shutil.rmtree(folder, ignore_errors=True)
        return tiny.lora(folder, base, base_model_name_or_path=name, revision=revision, targets=("q_proj",)).path

    return base, write


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Give an empty cache of a hub."""
    folder = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    return folder


def snapshot(hub, base, *, model="org/tiny", revision=REVISION):
    place = hub / f"models--{model.replace('/', '--')}" / "snapshots" / revision
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(base.path, place)
    return place


@BOTH_DATABASES
@pytest.mark.parametrize("name", ["tiny", "org/tiny", "{path}"])
def test_a_registered_base_is_found_by_name_by_id_and_by_place(client, named, name):
    base, write = named
    client.bases.register(base.path, "tiny", hub_ids=["org/tiny"])
    delta = write(name.format(path=base.path.absolute()))

    pushed = client.push(delta, "team/chat").version

    assert pushed.base.name == "tiny"


@BOTH_DATABASES
def test_a_revision_in_the_config_is_the_one_that_is_recorded(client, named, tmp_path):
    base, write = named
    other = tiny.base(tmp_path / "other", seed=9)
    client.bases.register(base.path, "old", hub_ids=[f"org/tiny@{REVISION}"])
    client.bases.register(other.path, "new", hub_ids=["org/tiny@main"])

    pushed = client.push(write("org/tiny", REVISION), "team/chat").version
    with pytest.raises(InvalidInput) as ambiguous:
        client.push(write("org/tiny"), "team/chat")
    with pytest.raises(InvalidInput, match="at 'v9' is no registered base"):
        client.push(write("org/tiny", "v9"), "team/chat")

    assert pushed.base.name == "old"
    assert str(ambiguous.value) == "the config's base_model_name_or_path 'org/tiny' is new and old"
    assert ambiguous.value.fix == "choose: --base new"


@BOTH_DATABASES
def test_a_snapshot_of_a_hub_brings_its_id_and_revision(client, named, hub):
    base, write = named
    place = snapshot(hub, base)

    info = client.bases.register("org/tiny", "tiny")
    again = client.bases.register(place, "tiny", hub_ids=["mirror/tiny"])
    shutil.rmtree(hub)
    pushed = client.push(write("org/tiny", REVISION), "team/chat").version

    assert info.hub_ids == [f"org/tiny@{REVISION}"]
    assert again.hub_ids == ["mirror/tiny", f"org/tiny@{REVISION}"]
    assert pushed.base.name == "tiny"


@ONE_STACK
def test_the_parent_that_a_fine_tune_names_is_not_taken_for_it(client, named, tmp_path):
    """`_name_or_path` of a saved model is what it was loaded from."""
    _, write = named
    tuned = tiny.base(tmp_path / "tuned", seed=4)
    config = json.loads((tuned.path / "config.json").read_text())
    (tuned.path / "config.json").write_text(json.dumps({**config, "_name_or_path": "org/tiny"}))
    client.bases.register(tuned.path, "tuned")

    assert client.bases.show("tuned").hub_ids == []
    with pytest.raises(InvalidInput):
        client.push(write("org/tiny"), "team/chat")


@ONE_STACK
def test_where_nothing_is_registered_the_command_that_registers_is_said(client, named, hub):
    _, write = named

    with pytest.raises(InvalidInput) as refused:
        client.push(write("org/absent"), "team/chat")
    with pytest.raises(InvalidInput, match="no base is named\nfix:   store it"):
        client.push(write(None), "team/chat")

    assert "is no registered base, and not on this machine" in str(refused.value)
    assert "deltareg base register PATH NAME --hub-id org/absent" in refused.value.fix


@ONE_STACK
def test_a_folder_on_this_machine_is_taken_by_its_fingerprint(client, named, hub):
    base, write = named
    client.bases.push(base.path, "tiny")
    snapshot(hub, base, model="org/copy")

    pushed = client.push(write("org/copy"), "team/chat").version

    assert pushed.base.name == "tiny"


@ONE_STACK
@pytest.mark.parametrize("name", ["a/b/c", "../../etc/passwd", "x\n/bases", "?root=", "a" * 5000])
def test_a_name_of_anything_else_is_told_as_it_is(client, named, name, hub):
    _, write = named

    with pytest.raises(InvalidInput):
        client.push(write(name), "team/chat")


@ONE_STACK
@pytest.mark.parametrize("hub_id", ["", "a/b/c", "org/..", "org/x@", "org/x@a b", "/x", "org//x"])
def test_what_is_no_id_of_a_hub_is_not_recorded(client, named, hub_id):
    base, _ = named

    with pytest.raises(InvalidInput):
        client.bases.register(base.path, "tiny", hub_ids=[hub_id])

    assert client.bases.list().items == []


@ONE_STACK
def test_a_base_has_so_many_ids_of_the_hub_and_no_more(client, named):
    base, _ = named
    first = [f"org/x{number}" for number in range(16)]
    client.bases.register(base.path, "tiny", hub_ids=first)

    client.bases.register(base.path, "tiny", hub_ids=first[:1])
    with pytest.raises(InvalidInput, match="more than 16 ids"):
        client.bases.register(base.path, "tiny", hub_ids=["org/more"])

    assert client.bases.show("tiny").hub_ids == sorted(first)


@ONE_STACK
def test_a_trainers_folder_names_its_newest_checkpoint_before_a_base_is_asked_for(client, named):
    _, write = named
    folder = write(None)
    shutil.copytree(folder, folder.parent / "run" / "checkpoint-20")

    with pytest.raises(Refused) as refused:
        client.push(folder.parent / "run", "team/chat")

    assert refused.value.fix.endswith("run/checkpoint-20")
