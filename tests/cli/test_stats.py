"""`deltareg stats storage`: the account, the parts, and the fields that scripts rely on."""

import pytest

from deltareg.wire import StorageFigures, StorageReport, StorageRow
from deltareg_cli.terminal.drawing import DrawingSurface, draw
from deltareg_cli.views.storage import storage_blocks
from tests.cli.steps import DELTAS, push

FIGURES = [
    "versions",
    "bases",
    "logical_bytes",
    "pack_bytes",
    "manifest_bytes",
    "map_bytes",
    "ratio",
    "saved_by_references",
    "saved_by_dedup",
    "saved_by_entropy",
    "unchanged_bytes",
    "framing_bytes",
]


@pytest.fixture
def stocked(user):
    """Give a user whose line me/chat has a full fine-tune and a LoRA."""
    push(user, "full")
    push(user, "lora")
    return user


def test_everything_is_told_by_namespace_and_kind(stocked):
    ended = stocked("stats", "storage", "--json")

    found = ended.json
    assert ended.status == 0
    assert list(found) == ["schema_version", "of", "name", *FIGURES, "store", "parts", "kinds"]
    assert (found["of"], found["versions"], found["bases"]) == ("registry", 2, 1)
    assert {part["name"] for part in found["parts"]} == {"me", "bases"}
    assert {kind["name"] for kind in found["kinds"]} == {"base", "full", "lora"}
    assert list(found["parts"][0])[:2] == ["of", "name"]
    assert found["store"]["total_bytes"] == sum(found["store"].values()) / 2


@pytest.mark.parametrize(
    ("words", "of", "parts"),
    [
        (["me"], "namespace", ["me/chat"]),
        (["me/chat"], "line", ["me/chat:v1", "me/chat:v2"]),
        (["me/chat:v2"], "version", ["me/chat:v2"]),
    ],
)
def test_a_part_is_told_by_what_it_holds(stocked, words, of, parts):
    found = stocked("stats", "storage", *words, "--json").json

    assert (found["of"], [part["name"] for part in found["parts"]]) == (of, parts)
    assert (found["store"] is None) == (of != "namespace")


def test_people_read_an_account_and_scripts_names(stocked):
    shown, names = stocked("stats", "storage", "me/chat").out, stocked("stats", "storage", "-q").out

    assert "saved by references" in shown
    assert "me/chat:v2" in shown
    assert names.split() == ["bases", "me"]


def test_what_is_beyond_the_limit_is_one_row(stocked):
    stocked("push", DELTAS / "lora_v2", "me/more", "--base", "tinyllama")

    shown = stocked("stats", "storage", "me", "--limit", "1").out

    assert "1 more" in shown


@pytest.mark.parametrize(("of", "status"), [("none", 3), ("me/none", 3), ("me/chat:x", 2)])
def test_what_is_not_there_has_the_status_of_its_reason(stocked, of, status):
    ended = stocked("stats", "storage", of, "--json")

    assert (ended.status, ended.out) == (status, "")
    assert ended.problem["fix"]


def figures(**changed):
    return dict.fromkeys(FIGURES, 0) | {"versions": 7, "ratio": 11.25} | changed


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_it_fits_on_a_terminal(width):
    sizes = figures(logical_bytes=1_234_567_890, pack_bytes=98_765_432, saved_by_dedup=10**9)
    row = StorageRow.model_validate({"of": "line", "name": "team/a-long-name-of-a-line", **sizes})
    total = StorageFigures.model_validate(sizes)
    report = StorageReport(of="namespace", name="team", total=total, store=None, parts=[row, row], kinds=[])
    surface = DrawingSurface(width, is_terminal=True, has_colour=False)

    lines = draw(storage_blocks(report, surface), surface).splitlines()

    assert max(len(line) for line in lines) <= width
    assert any("team/a-long-name-of-a-line" in line and "98.8 MB" in line for line in lines)
    assert any(line.startswith("=  packs") for line in lines)
