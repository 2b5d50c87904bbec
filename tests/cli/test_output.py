"""Results in every form, on stdout and alone there; text of others does no harm."""

import io
import json
import logging
from datetime import UTC, datetime

import pytest

from deltareg.documents.yaml_document import write_yaml
from deltareg.wire import SCHEMA_VERSION
from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    CommandResult,
    FactsBlock,
    LinesBlock,
    TableBlock,
    TitleBlock,
)
from deltareg_cli.terminal.drawing import DrawingSurface, draw
from deltareg_cli.terminal.logs import start_log
from deltareg_cli.terminal.output import Output, to_json
from deltareg_cli.terminal.wording import clean, count, moment, rate, seconds, short, size
from tests.cli.steps import push, push_base

yaml = pytest.importorskip("yaml", reason="needs PyYAML to read YAML back")

PIPE = DrawingSurface(width=80, is_terminal=False, has_colour=False)
TERMINAL = DrawingSurface(width=80, is_terminal=True, has_colour=True)
TABLE = TableBlock(
    [Column("name"), Column("size", is_number=True), Column("why", is_prose=True)],
    [[Cell("a", "name"), "7", "short"], ["longer", "1,024", "word " * 40]],
)


@pytest.mark.parametrize("words", [["--json"], ["-o", "json"], ["--output=json"]])
def test_json_stands_alone_on_stdout(shell, words):
    ended = shell("version", *words)

    assert ended.json["schema_version"] == SCHEMA_VERSION
    assert ended.err == ""


def test_the_form_may_stand_before_the_command(shell):
    assert shell("--json", "version").out == shell("version", "--json").out


def test_the_last_mention_wins(shell):
    ended = shell("--json", "version", "-o", "yaml")

    assert yaml.safe_load(ended.out)["schema_version"] == SCHEMA_VERSION
    assert not ended.out.startswith("{")


def test_the_form_may_come_from_the_environment(shell, monkeypatch):
    monkeypatch.setenv("DELTAREG_OUTPUT", "json")

    assert shell("version").json["version"]


def test_a_list_in_lines_is_an_entry_a_line(user):
    push(user)
    push(user, "lora_v2")

    lines = user("ls", "me/chat", "-o", "jsonl").out.splitlines()

    assert [json.loads(line)["ref"] for line in lines] == ["me/chat:v2", "me/chat:v1"]


def test_quiet_prints_names_only(user):
    push(user)

    assert user("ls", "-q").out == "me/chat\n"
    assert user("base", "ls", "--quiet").out == "tinyllama\n"
    assert user("-q", "show", "me/chat").out == "me/chat:v1\n"


def test_yaml_says_what_json_says(user):
    push_base(user)

    assert yaml.safe_load(user("base", "ls", "-o", "yaml").out) == user("base", "ls", "--json").json


@pytest.mark.parametrize(
    "value",
    [
        {"a": [], "b": {}, "c": None, "d": True, "e": 1.5, "f": -3},
        {"list": [{"x": 1, "y": [1, 2]}, [], [[1], {"z": "z"}]]},
        {
            "words": [
                "yes",
                "no",
                "null",
                "~",
                "1",
                "1.0",
                "- x",
                "a: b",
                "#",
                "",
                " x",
                "x ",
                "é",
                "a\nb",
                "\U0001f600",
                "a\u202eb",
            ]
        },
        {"odd key": "v", "yes": 1, "1": 2},
        [".5", ".inf", ".NaN", "...", "./x"],
        [1e-05, -2e-07, 1.5e-09, 1e22, 0.0, float("inf"), -float("inf")],
        [],
        "plain",
        [[{"twice": 1}]] * 2,
    ],
    ids=repr,
)
def test_yaml_reads_back(value):
    assert yaml.safe_load(write_yaml(value, is_ascii=True)) == value
    assert yaml.safe_load(write_yaml(value)) == value


def test_columns_are_aligned_and_nothing_else_is_drawn_in_a_pipe():
    lines = draw([TABLE], PIPE).splitlines()

    assert lines[0] == "NAME     SIZE  WHY"
    assert lines[1] == "a           7  short"
    assert lines[2].startswith("longer  1,024  word word")
    assert len(lines) == 3


def test_prose_wraps_on_a_terminal():
    lines = draw([TABLE], TERMINAL).splitlines()

    assert len(lines) > 3
    assert "\x1b[36ma\x1b[0m" in lines[1]


def test_prose_goes_below_its_row_where_there_is_no_room():
    lines = draw([TABLE], DrawingSurface(width=30, is_terminal=True, has_colour=False)).splitlines()

    assert lines[:3] == ["NAME     SIZE", "a           7", "    short"]


def test_a_row_that_a_terminal_would_break_stands_on_two_lines():
    table = TableBlock(
        [Column("id"), Column("ref"), Column("failed", is_prose=True)],
        [[Cell("c0ac67e8-fdc2", "name"), "me/chat:v2", "effect"]],
    )

    lines = draw([table], DrawingSurface(width=20, is_terminal=True, has_colour=False)).splitlines()

    assert lines == ["ID", "  REF", "c0ac67e8-fdc2", "  me/chat:v2", "      effect"]


def test_an_empty_table_says_so():
    assert draw([TableBlock([Column("x")], [], if_empty="no bases yet")], PIPE) == "no bases yet\n"


def test_facts_leave_out_what_is_empty():
    text = draw([TitleBlock("me/chat:v1"), FactsBlock([("kind", "lora"), ("labels", ""), ("by", ["", "ana"])])], PIPE)

    assert text == "me/chat:v1\nkind  lora\nby    ana\n"


def test_text_of_others_cannot_move_the_cursor_or_turn_around():
    evil = "fine\x1b[2J\x07\u202egnp.exe\u2066\r\nnext\u200b\x9b31m"
    blocks: list[Block] = [
        TitleBlock(evil),
        FactsBlock([("message", evil)]),
        LinesBlock([evil]),
        TableBlock([Column("x")], [[evil]]),
    ]

    text = draw(blocks, PIPE)

    assert text.count("\n") == 5
    for mark in "\x1b\x07\u202e\u2066\r\u200b\x9b":
        assert mark not in text


def test_json_escapes_what_a_terminal_would_act_on():
    evil = "\x1b[2J\u202e\x9b\ud800é"

    text = to_json({"message": evil})

    assert text == '{"message": "\\u001b[2J\\u202e\\u009b\\ud800é"}\n'
    assert json.loads(text) == {"message": evil}


def test_a_script_reads_nothing_but_the_problem_from_stderr(user):
    push_base(user)

    ended = user("show", "me/nothing", "--json")

    assert ended.out == ""
    assert ended.problem["code"] == "not_found"
    assert ended.problem["status"] == 404
    assert ended.problem["exit_status"] == 3
    assert ended.problem["fix"] == "deltareg ls me"


@pytest.mark.parametrize("line", [["ls", "--json", "--nonsense"], ["--json", "nonsense"], ["show", "-o", "json"]])
def test_a_line_that_cannot_be_read_still_answers_in_json(shell, line):
    ended = shell(*line)

    assert ended.status == 2
    assert ended.problem["code"] == "invalid_input"


def test_the_log_may_be_json_lines(user, capsys):
    ended = user("ls", "-vv", "--log-format", "json")

    records = [json.loads(line) for line in ended.err.splitlines()]
    assert {"at", "level", "logger", "event"} <= set(records[0])


def test_the_log_never_holds_the_body_of_a_request(root_logger):
    start_log(verbose=2, form="text")

    assert root_logger.isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("botocore.endpoint").isEnabledFor(logging.DEBUG)


def test_notes_are_for_people(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)

    Output(format="json").note("to nobody")
    Output(is_quiet=True).note("to nobody")
    Output().note("to a person")

    assert stream.getvalue() == "to a person\n"


def test_an_answer_in_its_own_format_replaces_the_blocks(capsys):
    Output().show(CommandResult({"a": 1}, [LinesBlock(["blocks"])], raw="### own\n"))

    assert capsys.readouterr().out == "### own\n"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (size(0), "0 B"),
        (size(999), "999 B"),
        (size(13_600_000), "13.6 MB"),
        (size(999_600), "1.0 MB"),
        (size(2_500_000_000_000), "2.5 TB"),
        (rate(42_000_000, 2.0), "21.0 MB/s"),
        (seconds(0.0353), "35 ms"),
        (seconds(1.44), "1.4 s"),
        (seconds(200), "3 min 20 s"),
        (seconds(7_500), "2 h 5 min"),
        (seconds(1_000_000), "12 days"),
        (count(1, "tensor"), "1 tensor"),
        (count(4096, "tensor"), "4,096 tensors"),
        (count(2, "entry", "entries"), "2 entries"),
        (short(f"sha256:{'ab' * 32} and more"), "sha256:abababababab and more"),
        (clean("a\tb\nc"), "a b c"),
    ],
)
def test_numbers_read_well(written, expected):
    assert written == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-03-01T12:00:00Z", "just now"),
        ("2026-03-01T11:59:20Z", "40 s ago"),
        ("2026-03-01T11:57:00+00:00", "3 min ago"),
        ("2026-02-28T11:00:00Z", "1 day ago"),
        ("2026-05-30T12:00:00Z", "in 3 months"),
        ("2023-03-01T12:00:00Z", "3 years ago"),
        ("no time", "no time"),
    ],
)
def test_times_are_relative(at, expected):
    assert moment(at, now=datetime(2026, 3, 1, 12, tzinfo=UTC)) == expected
