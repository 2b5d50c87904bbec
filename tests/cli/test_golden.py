"""`deltareg golden`, and pushes that take recorded outputs along or make them on the way."""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from safetensors.numpy import load_file, save_file

from deltareg import Client
from deltareg.suites.golden_file import GOLDEN_FILE, decode, encode
from tests.cli.steps import BASES, DELTAS, done, push_base

pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")


@pytest.fixture
def delta(tmp_path):
    shutil.copytree(DELTAS / "lora_qv", tmp_path / "delta")
    return tmp_path / "delta"


@pytest.fixture
def willing(user, monkeypatch):
    """Let pushes record where they can, as they do for everybody but these tests."""
    monkeypatch.setenv("DELTAREG_GOLDEN", "auto")
    push_base(user)
    return user


def change(folder, factor=1.5):
    path = folder / "adapter_model.safetensors"
    save_file({n: v * factor for n, v in load_file(path).items()}, path, {"format": "pt"})


def state(folder):
    """Give all that a folder is: names, bytes, modes and times."""
    paths = sorted([folder, *folder.rglob("*")])
    return [(p.name, p.stat().st_mtime_ns, p.stat().st_mode, p.read_bytes() if p.is_file() else b"") for p in paths]


@pytest.mark.slow
def test_a_push_records_by_the_library_and_the_folder_stays_as_it_was(willing, delta):
    words, before = ("push", delta, "me/chat", "--base", BASES / "tinyllama"), state(delta)
    delta.chmod(0o555)

    first = willing(*words, "-v")
    again = done(willing, *words)
    delta.chmod(0o755)
    pulled = done(willing, "pull", "me/chat:v1", "--to", delta.parent / "pulled")

    assert first.status == 0, first.err
    assert "golden outputs  recorded by the library afterwards" in first.out
    assert [one[:2] for one in state(delta)] == [one[:2] for one in before]
    assert [one[3] for one in state(delta)] == [one[3] for one in before]
    origin = decode((delta.parent / "pulled" / GOLDEN_FILE).read_bytes()).origin
    assert (origin.how, origin.base) == ("by_library", done(willing, "base", "show", "tinyllama")["root"])
    assert (again["created"], again["version"]) == (False, 1)
    assert again["golden"].startswith("recorded by the library afterwards, with peft")
    assert pulled["ref"] == "me/chat:v1"


@pytest.mark.slow
def test_the_command_line_and_python_make_one_version_of_one_folder(willing, delta, tmp_path):
    base = str(BASES / "tinyllama")
    by_command = done(willing, "push", delta, "me/chat", "--base", base)
    with Client() as client:
        by_python = client.push(delta, "me/chat", base=base)
        alone = client.push(delta, "me/python", base=base)
    with Client(cache_dir=tmp_path / "elsewhere") as client:  # which has neither base nor outputs
        elsewhere = client.push(delta, "me/chat", base="tinyllama")
    after = done(willing, "push", delta, "me/python", "--base", "tinyllama")

    assert [by_command["ref"], by_python.version.ref, elsewhere.version.ref] == ["me/chat:v1"] * 3
    assert by_command["digest"] == by_python.version.digest == elsewhere.version.digest
    assert (after["ref"], after["digest"], after["created"]) == ("me/python:v1", alone.version.digest, False)
    assert alone.version.digest == by_command["digest"]
    assert alone.golden.startswith("recorded by the library afterwards")


@pytest.mark.slow
def test_two_pushes_at_once_make_one_version(willing, delta):
    base = str(BASES / "tinyllama")
    with ThreadPoolExecutor(2) as pool, Client() as one, Client() as two:
        reports = list(pool.map(lambda client: client.push(delta, "me/chat", base=base), (one, two)))

    assert len({(report.version.ref, report.version.digest) for report in reports}) == 1
    assert all(report.golden.startswith("recorded by the library afterwards") for report in reports)


@pytest.mark.slow
def test_a_push_that_is_killed_while_it_records_leaves_nothing_in_the_folder(willing, delta):
    before, base = state(delta), BASES / "tinyllama"
    process = willing.spawn("push", delta, "me/chat", "--base", base)
    deadline = time.monotonic() + 60

    while not list((willing.home / "cache").rglob("tmp/*/")) and process.poll() is None:
        assert time.monotonic() < deadline, "it never began to record"
        time.sleep(0.01)
    process.kill()
    process.communicate()
    again = done(willing, "push", delta, "me/chat", "--base", base)

    assert state(delta) == before
    assert (again["version"], again["golden"].startswith("recorded by the library")) == (1, True)


def test_a_push_without_outputs_stays_the_version_that_it_is(willing, delta):
    """Where nobody could record, another door or another day makes no second version."""
    first = done(willing, "push", delta, "me/chat", "--base", "tinyllama", "--no-golden")

    again = done(willing, "push", delta, "me/chat", "--base", BASES / "tinyllama")

    assert (again["ref"], again["created"]) == (first["ref"], False)
    assert again["golden_missing"] == "me/chat:v1 was pushed without"


def test_a_delta_whose_outputs_the_line_has_is_pushed_with_those(willing, delta):
    """Another machine would record other last digits, and make another version of the same."""
    recorded(delta)
    first = done(willing, "push", delta, "me/chat", "--base", "tinyllama")
    (delta / GOLDEN_FILE).unlink()

    again = done(willing, "push", delta, "me/chat", "--base", "tinyllama")
    elsewhere = done(willing, "push", delta, "me/other", "--base", "tinyllama", "--no-golden")

    assert (again["ref"], again["created"]) == (first["ref"], False)
    assert again["golden"].endswith("; those of me/chat:v1")
    assert not (delta / GOLDEN_FILE).exists()
    assert (elsewhere["created"], elsewhere["golden"]) == (True, "")


@pytest.mark.parametrize("change_of", ["weights", "a note"])
def test_outputs_of_other_files_are_not_taken(user, monkeypatch, delta, change_of):
    monkeypatch.setenv("DELTAREG_GOLDEN", "auto")
    done(user, "base", "register", BASES / "tinyllama", "tinyllama")
    recorded(delta)
    done(user, "push", delta, "me/chat", "--base", "tinyllama")
    (delta / GOLDEN_FILE).unlink()
    if change_of == "weights":
        change(delta)
    else:
        (delta / "NOTES.md").write_text("half a page")

    other = done(user, "push", delta, "me/chat", "--base", "tinyllama")

    assert (other["created"], "those of" in other["golden"]) == (True, False)


@pytest.mark.slow
def test_what_the_library_recorded_of_other_weights_is_recorded_again(willing, delta):
    words = ("push", delta, "me/chat", "--base", BASES / "tinyllama")
    done(willing, *words)
    change(delta)

    again = done(willing, *words)

    done(willing, "pull", "me/chat:v1", "--to", delta.parent / "one")
    done(willing, "pull", "me/chat:v2", "--to", delta.parent / "two")
    before, after = ((delta.parent / name / GOLDEN_FILE).read_bytes() for name in ("one", "two"))
    assert again["golden"].startswith("recorded by the library afterwards")
    assert decode(after).origin.weights != decode(before).origin.weights


@pytest.mark.slow
def test_the_command_records_texts_of_ones_own_and_shows_them(user, delta, tmp_path):
    (tmp_path / "prompts.txt").write_text("one text\n\nanother text\n")
    words = ("--base", BASES / "tinyllama", "--prompts", tmp_path / "prompts.txt")

    recorded = done(user, "golden", "record", delta, *words, "--gpu", "cpu")
    shown = done(user, "golden", "show", delta)
    change(delta)
    changed = user("golden", "show", delta)

    assert (recorded["samples"], recorded["library"]) == (2, "peft")
    assert [one["outputs"] for one in shown["samples"]] == [["logits"], ["logits"]]
    assert shown["changed"] == []
    assert "changed since: adapter_model.safetensors" in changed.out


def test_a_push_that_cannot_record_goes_on_and_says_why(willing, tmp_path):
    shutil.copytree(DELTAS.parent / "tinygpt2" / "bitfit", tmp_path / "delta")
    done(willing, "base", "push", BASES / "tinygpt2", "tinygpt2")
    options = ("--base", "tinygpt2", "--convention", "absolute")

    pushed = willing("push", tmp_path / "delta", "me/other", *options, "-v")

    assert pushed.status == 0, pushed.err
    assert "none: no library reads such a delta by itself" in pushed.out
    assert not (tmp_path / "delta" / GOLDEN_FILE).exists()


def recorded(folder, how="in_training", **origin):
    """Put outputs into a folder as a training would have; what they are is not looked at here."""
    frozen = decode((BASES.parents[1] / "golden" / "outputs" / "2.json").read_bytes())
    told = replace(frozen, origin=replace(frozen.origin, how=how, weights={}, **origin))
    (folder / GOLDEN_FILE).write_bytes(encode(told))


def test_what_the_training_recorded_goes_along_and_is_never_replaced(willing, delta):
    recorded(delta, quantised="")
    before = (delta / GOLDEN_FILE).read_bytes()

    pushed = done(willing, "push", delta, "me/chat", "--base", "tinyllama")
    pulled = done(willing, "pull", pushed["ref"], "--to", delta.parent / "pulled")

    assert pushed["golden"] == "recorded in training, with peft 0.21.2 in BF16 on cuda"
    assert (delta / GOLDEN_FILE).read_bytes() == before
    assert (delta.parent / "pulled" / GOLDEN_FILE).read_bytes() == before
    assert pulled["ref"] == pushed["ref"]


def test_no_golden_pushes_none_and_records_none(willing, delta):
    recorded(delta)

    pushed = willing("push", delta, "me/chat", "--base", "tinyllama", "--no-golden", "--json")

    assert (pushed.status, pushed.json["golden"]) == (0, "")
    assert f"{GOLDEN_FILE} (not wanted)" in pushed.json["left_out"]


def test_a_file_recorded_elsewhere_is_taken_by_its_name(willing, delta, tmp_path):
    recorded(tmp_path)
    words = ("push", delta, "me/chat", "--base", "tinyllama", "--golden", tmp_path / GOLDEN_FILE)

    pushed = done(willing, *words)

    assert pushed["golden"].startswith("recorded in training")
    assert not (delta / GOLDEN_FILE).exists()


WRONG = {
    "two things at once": (["--golden", "x.json", "--no-golden"], "say two things"),
    "a file that is not there": (["--golden", "x.json"], "there is no file x.json"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_meant_is_refused(willing, delta, name):
    options, message = WRONG[name]

    pushed = willing("push", delta, "me/chat", "--base", "tinyllama", *options)

    assert pushed.status != 0
    assert message in pushed.err


def test_a_damaged_file_in_the_folder_is_refused_with_what_to_do(willing, delta):
    (delta / GOLDEN_FILE).write_text(json.dumps({"schema": "deltareg.golden/9"}))

    pushed = willing("push", delta, "me/chat", "--base", "tinyllama")

    assert pushed.status == 2
    assert "push with --no-golden" in pushed.err
