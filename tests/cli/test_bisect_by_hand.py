"""`deltareg bisect start|good|bad|skip|status|reset`: a person judges, one version at a time."""

import threading

import pytest

from deltareg.client import Client
from deltareg.client.compare.bisect_marks import KeptMarks, LineMarks
from deltareg.client.config import load_config
from deltareg.errors import Conflict
from deltareg.gate.bisection import bisect
from deltareg.refs import LineRef
from tests.cli.steps import push_line

VERSIONS = 7
LINE = LineRef("me", "chat")
START = ["bisect", "start", "me/chat", "--good", "v1", "--bad", "v7"]


@pytest.fixture
def line(user, tmp_path):
    """A line of seven versions."""
    push_line(user, tmp_path, VERSIONS)
    return user


@pytest.fixture
def kept(tmp_path):
    """A folder of judgements of its own."""
    return KeptMarks(tmp_path / "bisect")


def state(user):
    return sorted(path for path in (user.home / "state").rglob("*") if path.is_file())


@pytest.mark.parametrize("first_bad", [2, 6])
def test_the_same_versions_are_tried_as_by_a_run(line, first_bad):
    asked = []

    def judge(number):
        asked.append(number)
        return "bad" if number >= first_bad else "good"

    bisect(range(1, VERSIONS + 1), judge)
    tried, told = [], line(*START, "--json")
    while told.json["try"]:
        tried.append(int(told.json["try"].rpartition("v")[2]))
        is_bad = tried[-1] >= first_bad
        most = told.json["steps_most"]
        told = line("bisect", "bad" if is_bad else "good", "--json")
        assert told.json["steps_most"] < most

    assert [1, 7, *tried] == asked
    assert told.status == 0
    assert (told.json["is_found"], told.json["first_bad"]) == (True, f"me/chat:v{first_bad}")
    assert told.json["next"] == (f"deltareg diff me/chat:v{first_bad - 1} me/chat:v{first_bad} --mode behavior")
    assert {step["source"] for step in told.json["steps"]} == {"hand"}


def test_each_answer_says_what_to_try_and_how_to_get_it(line):
    started = line(*START)
    one_left = line("bisect", "good", "me/chat:v5")
    over = line("bisect", "bad")

    assert started.out.startswith("try me/chat:v4  5 versions left, 3 steps at most\n")
    assert "next: deltareg pull me/chat:v4 --to ./chat-v4\n" in started.out
    assert "then: deltareg bisect good me/chat:v4 or bad, or skip\n" in started.out
    assert one_left.out.startswith("try me/chat:v6  1 version left, 1 step at most\n")
    assert over.out.startswith("first bad version: me/chat:v6\n")
    assert over.out.endswith("then: deltareg bisect reset me/chat\n")
    assert line("bisect", "status").out == over.out
    assert line("bisect", "status", "-q").out == "me/chat:v6\n"


def test_an_end_that_is_not_named_is_asked_for_and_never_guessed(line, local_registry):
    local_registry.verified("me/chat:v3")
    bare = line("bisect", "start", "me/chat")
    promoted = line("promote", "me/chat:v3", "--channel", "prod")
    asked = line("bisect", "status", "--json")
    with_good = line("bisect", "good", "me/chat@prod", "--json")
    named = line("bisect", "bad", "v7", "--json")

    assert bare.status == 0
    assert bare.out.startswith("name a good version and a bad version of me/chat\n")
    assert "next: deltareg bisect good me/chat:vN\n" in bare.out
    assert promoted.status == 0, promoted.err
    assert asked.json["missing"] == ["good", "bad"]
    assert (asked.json["hint"], asked.json["try"]) == ("me/chat:v3", None)
    assert asked.json["next"] == "deltareg bisect good me/chat:v3"
    assert asked.json["steps"] == []
    assert with_good.json["next"] == "deltareg bisect bad me/chat:v7"
    assert named.json["try"] == "me/chat:v5"


def test_only_skipped_versions_left_end_as_they_do_in_a_run(line):
    line(*START)
    line("bisect", "bad", "v5")
    line("bisect", "good", "v3")
    ended = line("bisect", "skip", "--json")

    assert ended.status == line("bisect", "status").status == 11
    assert (ended.json["is_found"], ended.json["first_bad"]) == (False, None)
    assert ended.json["between"] == ["me/chat:v4"]
    assert (ended.json["last_good"], ended.json["known_bad"]) == ("me/chat:v3", "me/chat:v5")


def test_a_slip_is_mended_by_judging_again(line):
    line(*START)
    line("bisect", "good", "v4")
    mended = line("bisect", "bad", "v4", "--json")

    assert mended.status == 0
    assert mended.json["known_bad"] == "me/chat:v4"
    assert [step["ref"] for step in mended.json["steps"]] == [f"me/chat:v{n}" for n in (1, 7, 4)]


def test_what_is_deleted_meanwhile_is_not_tried_and_what_is_revoked_says_so(line):
    line(*START)
    line("rm", "me/chat:v4", "--yes")
    line("revoke", "me/chat:v3", "-m", "wrong data")
    moved = line("bisect", "status")
    seen = line("bisect", "status", "--json")

    assert moved.out.startswith("try me/chat:v3  4 versions left, 3 steps at most\n")
    assert "deleted    me/chat:v4\n" in moved.out
    assert "revoked    by ana: wrong data; it comes all the same\n" in moved.out
    assert (seen.json["is_revoked"], seen.json["deleted"]) == (True, ["me/chat:v4"])
    assert line("bisect", "bad", "--json").json["known_bad"] == "me/chat:v3"


def test_lines_are_searched_beside_each_other(line, tmp_path):
    folder = tmp_path / "delta-1"
    for message in ("a", "b"):
        (folder / "README.md").write_text(message)
        assert line("push", folder, "me/other", "--base", "tinyllama").status == 0
    line(*START)
    line("bisect", "start", "me/other", "--good", "v1", "--bad", "v2")
    unclear = line("bisect", "good")
    bare = line("bisect", "good", "me/chat", "--json")
    ended = line("bisect", "reset", "me/other", "--json")

    assert unclear.status == 2
    assert "2 bisections go on: me/chat, me/other" in unclear.err
    assert (bare.status, bare.json["last_good"]) == (0, "me/chat:v4")
    assert ended.json["was_going_on"]
    assert line("bisect", "good").status == 0


def test_a_reset_forgets_all_and_may_be_repeated(line):
    line(*START)
    first = line("bisect", "reset")
    again = line("bisect", "reset")
    named = line("bisect", "reset", "me/chat", "--json")

    assert (first.status, first.out) == (0, "the bisection of me/chat is over\n")
    assert (again.status, again.out) == (0, "no bisection goes on\n")
    assert (named.status, named.json["was_going_on"]) == (0, False)
    assert state(line) == []


def test_a_judgement_that_cannot_be_right_changes_nothing(line):
    line(*START)
    line("bisect", "bad", "v6")
    before = line("bisect", "status", "--json").json
    contradiction = "v7 cannot be good while v6, which is older, is bad"
    expected = [
        (["start", "me/chat"], 5, "a bisection of me/chat goes on"),
        (["good", "v7"], 2, contradiction),
        (["good", "v99"], 3, "there is no version me/chat:v99"),
        (["good", "vx"], 2, "not a version"),
        (["good", "me/other:v1"], 3, "no bisection of me/other goes on"),
        (["status", "me/other"], 3, "no bisection of me/other goes on"),
    ]

    found = [(words, line("bisect", *words)) for words, _, _ in expected]

    for (words, ended), (_, status, message) in zip(found, expected, strict=True):
        assert (ended.status, message in ended.err) == (status, True), (words, ended.err)
    assert line("bisect", "status", "--json").json == before


def test_a_search_that_cannot_begin_leaves_nothing(line):
    line("rm", "me/chat:v2", "--yes")
    ends = ["start", "me/chat", "--good"]
    expected = [
        (["good"], 3, "no bisection goes on"),
        (["status"], 3, "no bisection goes on"),
        (["start", "me/nothing"], 3, "there is no delta me/nothing"),
        ([*ends, "v7", "--bad", "v1"], 2, "v7 is not older than v1"),
        ([*ends, "v1", "--bad", "v99"], 3, "there is no version"),
        ([*ends, "v2", "--bad", "v7"], 3, "me/chat:v2 is deleted"),
    ]

    found = [(words, line("bisect", *words)) for words, _, _ in expected]

    for (words, ended), (_, status, message) in zip(found, expected, strict=True):
        assert (ended.status, message in ended.err) == (status, True), (words, ended.err)
    assert state(line) == []


def test_nothing_is_to_try_once_it_is_over(line):
    line("bisect", "start", "me/chat", "--good", "v1", "--bad", "v2")
    ended = line("bisect", "good")

    assert ended.status == 2
    assert "there is no version of me/chat to try now: say which version is good" in ended.err


def test_of_two_judgements_at_once_one_is_told_to_look_again(line):
    line(*START)
    barrier, ended = threading.Barrier(2), []

    def judge():
        with Client(load_config().config) as client:
            hand = client.bisection_by_hand
            before = KeptMarks.of_server(client.config.server).read(LINE)
            assert before is not None
            assert before.proposed == 4
            barrier.wait()
            try:
                hand._keep(LINE, before, before.with_mark(4, "good"))
                ended.append("kept")
            except Conflict as error:
                ended.append(error.fix)

    threads = [threading.Thread(target=judge) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(ended) == ["kept", "look where it is: deltareg bisect status me/chat"]
    assert line("bisect", "status", "--json").json["try"] == "me/chat:v5"


def test_what_a_kill_left_half_written_is_not_read(kept):
    marks = LineMarks().with_mark(1, "good")
    kept.swap(LINE, None, marks)
    (kept.root / "me" / ".chat.json.draft").write_text("{")

    assert kept.read(LINE) == marks
    assert kept.lines() == [LINE]
    kept.swap(LINE, marks, marks.with_mark(2, "bad"))
    assert kept.read(LINE).by_version() == {1: "good", 2: "bad"}
    assert not (kept.root / "me" / ".chat.json.draft").exists()


def test_a_damaged_file_says_how_to_begin_anew(line):
    line(*START)
    state(line)[0].write_text("{")
    ended = line("bisect", "good")

    assert ended.status == 2
    assert "is damaged, or of another release" in ended.err
    assert "deltareg bisect reset me/chat" in ended.err
    assert line("bisect", "reset", "me/chat").status == 0
    assert line(*START).status == 0


def test_a_folder_that_cannot_be_written_is_named(line, monkeypatch):
    (line.home / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(line.home / "file"))

    ended = line(*START)

    assert ended.status == 2
    assert "XDG_STATE_HOME" in ended.err
