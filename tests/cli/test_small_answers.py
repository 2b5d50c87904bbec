"""Small things that commands say: which option is meant, what a push of known bytes did, how a round ended."""

import threading

import pytest

from deltareg.service.operations.operation import KeepingTimes
from deltareg.service.operations.working import OperationWorker
from deltareg_cli.options.options import AgeParam, DurationParam, Option
from tests.cli.steps import DELTAS, push_base
from tests.cli.test_pages import LEAVES

WAITS = {"--timeout", "--wait-timeout", "--every", "--idle", "--poll", "--older-than", "--grace"}


def test_every_wait_of_every_command_reads_units():
    found = {
        (path, option.opts[-1]): type(option.type)
        for path, command in LEAVES
        for option in command.params
        if isinstance(option, Option) and not option.is_global and WAITS & set(option.opts)
    }

    assert len(found) > 15
    assert {name: kind for name, kind in found.items() if kind not in {DurationParam, AgeParam}} == {}


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5_400), ("0.5", 0.5)])
def test_a_wait_is_a_number_of_seconds_or_has_units(text, seconds):
    assert DurationParam().convert(text, None, None) == seconds


@pytest.mark.parametrize("folder", ["./chat", "out", "models/chat", "/tmp/chat", "..", "Models"])
def test_a_folder_after_the_version_names_the_option(pushed, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "chat").mkdir(parents=True)

    ended = pushed("pull", "me/chat:v1", folder)

    assert ended.status == 2
    assert f"deltareg pull me/chat:v1 --to {folder}" in ended.err


@pytest.fixture
def pushed(user):
    """Give a user whose line has a version without a semver and labels."""
    push_base(user)
    assert user("push", DELTAS / "lora", "me/chat", "--base", "tinyllama", "--no-golden").status == 0
    return user


def again(user, *options):
    return user("push", DELTAS / "lora", "me/chat", "--base", "tinyllama", "--no-golden", *options)


def test_a_push_of_known_bytes_says_what_it_gave_them(pushed):
    ended = again(pushed, "--semver", "1.0.0", "--label", "run=7", "-m", "the first")
    shown = pushed("show", "me/chat:v1", "--json").json

    assert ended.status == 0
    assert "was there already, and has the semver 1.0.0, the label run=7, the message now" in ended.out
    assert (shown["semver"], shown["labels"]["run"], shown["message"]) == ("1.0.0", "7", "the first")


def test_a_push_of_known_bytes_says_what_it_left_as_it_was(pushed):
    again(pushed, "-m", "the first")

    ended = again(pushed, "-m", "another")

    assert "its message stays" in ended.out
    assert pushed("show", "me/chat:v1", "--json").json["message"] == "the first"


def test_a_semver_that_another_version_has_is_refused_for_known_bytes(pushed):
    again(pushed, "--semver", "1.0.0")

    ended = again(pushed, "--semver", "2.0.0")

    assert ended.status == 5
    assert "1.0.0" in ended.err


def test_upkeep_run_shows_the_state_after_the_round(user):
    worker = OperationWorker(user.server.registry, KeepingTimes(), rest=lambda _: False)
    worker.add_operations()
    before = user("upkeep", "show", "collect", "--json").json
    over = threading.Event()

    def work():
        while not over.is_set():
            worker.work_on_one()
            over.wait(0.02)

    server = threading.Thread(target=work)
    server.start()
    try:
        ended = user("upkeep", "run", "collect", "--json")
    finally:
        over.set()
        server.join()

    assert before["ended_at"] is None
    assert ended.status == 0
    assert ended.json["ended_at"] is not None
    assert not ended.json["is_under_way"]


def test_upkeep_run_of_a_paused_operation_says_so_at_once(user):
    OperationWorker(user.server.registry, KeepingTimes(), rest=lambda _: False).add_operations()
    user("upkeep", "pause", "collect")

    ended = user("upkeep", "run", "collect")

    assert "paused" in ended.out
    assert "has not ended yet" in ended.err
