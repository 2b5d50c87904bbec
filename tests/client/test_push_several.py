"""Several folders by one push: what each becomes, and that their base is looked up once."""

import re
import shutil

import pytest

from deltareg.client.push.push import PushOptions
from deltareg.errors import InvalidInput, Refused
from deltareg.wire import API
from tests.client.test_push import DELTAS
from tests.fixtures.registries import SAMPLES
from tests.folders import naming_base

FOLDERS = [DELTAS / name for name in ("lora", "lora_v2", "lora_dora")]


@pytest.fixture
def client(shared_registry):
    return shared_registry.client()


def paths_asked(client):
    """Note the path of every request that a client sends from now on, ids of uploads left out."""
    asked = []

    def note(request):
        asked.append(re.sub(r"/uploads/[0-9a-f-]{36}", "/uploads/ID", request.url.path.removeprefix(API)))

    client._context.api._http.event_hooks = {"request": [note]}
    return asked


def test_a_push_asks_for_each_thing_once(client, tmp_path):
    first, second = (naming_base(folder, "tinyllama", tmp_path / folder.name) for folder in FOLDERS[:2])
    client.push(first, "asked/once", base="tinyllama")
    asked = paths_asked(client)

    client.push(second, "asked/once", base="tinyllama")

    assert asked == [
        "/bases/tinyllama",
        "/deltas/asked/once/versions",
        "/uploads",
        "/deltas/asked/once/versions/1/storage",
        "/uploads/ID/packs/0",
        "/uploads/ID:complete",
    ]


def test_a_line_gets_folders_as_versions_in_their_order(client):
    alone = [client.push(folder, "sweep/alone", base="tinyllama").version.digest for folder in FOLDERS]

    pushed = list(client.versions.push_several(FOLDERS, "sweep/runs", base="tinyllama"))

    assert [each.path for each in pushed] == FOLDERS
    assert [each.report.version.ref for each in pushed] == [f"sweep/runs:v{n}" for n in (1, 2, 3)]
    assert [each.report.version.digest for each in pushed] == alone


def test_a_namespace_gets_a_line_for_each_and_the_base_is_looked_up_once(client):
    asked = paths_asked(client)

    pushed = list(client.versions.push_several(FOLDERS, "each/", base="tinyllama"))

    assert [each.report.version.ref for each in pushed] == [f"each/{folder.name}:v1" for folder in FOLDERS]
    assert sum(path == "/bases/tinyllama" for path in asked) == 1
    again = list(client.versions.push_several(FOLDERS, "each/", base="tinyllama"))
    assert not any(each.report.created for each in again)


def test_one_that_is_refused_ends_it_and_those_before_it_stay(client, tmp_path):
    bad = SAMPLES / "bad" / "wrong_prefix"
    pushed = client.versions.push_several([FOLDERS[0], bad, FOLDERS[1]], "sweep/broken", base="tinyllama")

    assert next(pushed).report.version.ref == "sweep/broken:v1"
    with pytest.raises(Refused):
        next(pushed)
    assert client.show("sweep/broken").version == 1


def test_two_folders_of_one_name_are_no_two_lines(client, tmp_path):
    twin = shutil.copytree(FOLDERS[0], tmp_path / "lora")

    with pytest.raises(InvalidInput, match="would both be each/lora"):
        list(client.versions.push_several([FOLDERS[0], twin], "each/", base="tinyllama"))


@pytest.mark.parametrize("options", [PushOptions(semver="1.0.0"), PushOptions(idempotency_key="k")])
def test_what_is_of_one_version_is_refused(client, options):
    with pytest.raises(InvalidInput, match="of one version"):
        list(client.versions.push_several(FOLDERS, "sweep/runs", base="tinyllama", options=options))
