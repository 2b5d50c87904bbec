"""Commands that start other processes: what they run, and what they say when a part is missing."""

import subprocess
import sys

import pytest

from deltareg_cli.runs.launch import NEEDS, build_flags, missing_of


@pytest.mark.parametrize(
    "line",
    [
        ["up"],
        ["server", "run"],
        ["server", "check"],
        ["worker", "run"],
        ["probe", "me/chat", "--inputs", "in.safetensors", "--out", "out.safetensors"],
    ],
)
def test_a_missing_part_is_one_clear_line(shell, monkeypatch, line):
    for extra in NEEDS:
        monkeypatch.setitem(NEEDS, extra, ("no_such_package",))

    ended = shell(*line)

    assert ended.status == 2
    assert "not installed (no_such_package)" in ended.err
    assert "pip install 'deltareg[all]'" in ended.err


def test_up_without_workers_asks_for_no_torch(shell, monkeypatch):
    monkeypatch.setitem(NEEDS, "server", ("no_such_package",))
    monkeypatch.setitem(NEEDS, "verify", ("no_such_other",))

    assert "no_such_other" not in shell("up", "--workers", "0").err


def test_parts_are_looked_for_and_not_loaded():
    probe = (
        "import sys; from deltareg_cli.runs.launch import missing_of; missing_of('verify');"
        " print('torch' in sys.modules)"
    )

    ended = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert ended.stdout == "False\n"
    assert missing_of("server") == []


def test_only_options_that_were_given_are_passed_on():
    words = build_flags(data_dir="/srv", host=None, port=0, once=True, quiet=False)

    assert words == ["--data-dir", "/srv", "--port", "0", "--once"]


def test_migrate_makes_the_schema_and_check_accepts_it(shell, monkeypatch, tmp_path):
    monkeypatch.setenv("DELTAREG_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    url = f"sqlite:///{tmp_path / 'data' / 'registry.db'}"

    with shell.spawn("server", "migrate", "--url", url) as migrate:
        migrate.communicate(timeout=60)
    with shell.spawn("server", "check") as check:
        out, err = check.communicate(timeout=60)

    assert (migrate.returncode, check.returncode) == (0, 0), err
    assert "ok" in out


def test_migrate_needs_a_database(shell, monkeypatch):
    monkeypatch.delenv("DELTAREG_DATABASE_URL", raising=False)

    ended = shell("server", "migrate")

    assert ended.status == 2
    assert "DELTAREG_DATABASE_URL" in ended.err
