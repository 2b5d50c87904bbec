"""Variants of bases on the command line: what it says, and its exit statuses."""

import json
import shutil

import pytest

packing = pytest.importorskip("tests.packing", reason="packs with torch")


@pytest.fixture
def folders(tmp_path):
    root = packing.base(tmp_path / "root")
    return {"root": root, "fp8": packing.pack(root, tmp_path / "fp8", "fp8"), "lora": packing.lora(tmp_path / "lora")}


@pytest.fixture
def registered(user, folders):
    """Give a user whose registry has a base and a variant of it."""
    assert user("base", "push", folders["root"], "root", "--hub-id", "org/root").status == 0
    told = user("base", "register", folders["fp8"], "root-fp8", "--variant-of", "root", "--quantised", "fp8")
    assert told.status == 0, told.err
    assert "fp8 of root, llama" in told.out
    return user


def test_a_push_for_a_variant_says_what_it_is_of(registered, folders):
    ended = registered("push", folders["lora"], "me/chat", "--base", "root-fp8")

    assert ended.status == 0
    assert "lora on root (trained on root-fp8)" in ended.out
    assert "(trained on root-fp8)" in registered("show", "me/chat:v1").out


def test_a_variant_and_its_root_are_one_base_to_what_the_config_names(registered, folders):
    config = folders["lora"] / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": "root-fp8"}))

    of_root = registered("push", folders["lora"], "me/chat", "--base", "root", "--json")
    insisted = registered("push", folders["lora"], "me/other", "--base", "root", "--trained-on", "root-fp8")

    assert (of_root.status, of_root.json["base"]["name"], of_root.json["base_claim"]) == (0, "root", "")
    assert "(trained on root-fp8)" in insisted.out
    assert "its files say" not in insisted.out


def test_the_base_that_the_config_names_is_told(registered, folders):
    ended = registered("push", folders["lora"], "me/chat")

    assert ended.status == 0
    assert "base: root, which adapter_config.json names" in ended.err


def test_two_bases_of_one_id_are_both_named(registered, folders, tmp_path):
    other = packing.base(tmp_path / "other", seed=8)
    registered("base", "register", other, "other", "--hub-id", "org/root@main")

    ended = registered("push", folders["lora"], "me/chat")

    assert ended.status == 2
    assert "is other and root" in ended.err
    assert "--base other" in ended.err


def test_what_is_proven_on_which_is_a_table(registered, folders):
    registered("push", folders["lora"], "me/chat", "--base", "root-fp8")

    shown = registered("base", "compat", "root-fp8")
    document = registered("base", "compat", "root", "--json").json
    quiet = registered("base", "compat", "root", "--quiet")

    head, *rows = [line.split() for line in shown.out.splitlines()[1:]]
    assert head[:5] == ["VERSION", "TRAINED", "ON", "root", "root-fp8"]
    assert rows[0][:6] == ["me/chat:v1", "root-fp8", "not", "run", "not", "run"]
    assert document["items"][0]["on"] == {"root": "not run", "root-fp8": "not run"}
    assert quiet.out == "me/chat:v1\n"
    assert "fp8 of root" in registered("base", "ls").out
    assert "variants    root-fp8" in registered("base", "show", "root").out


def test_a_fold_warns_of_what_training_saw_and_refuses_packed_numbers(registered, folders):
    registered("push", folders["lora"], "me/chat", "--base", "root-fp8")

    folded = registered("materialize", "me/chat:v1", "--out", "folded")
    refused = registered("materialize", "me/chat:v1", "--out", "no", "--base", folders["fp8"])

    assert folded.status == 0
    assert "warning: me/chat:v1 was trained on root-fp8" in folded.err
    assert refused.status == 2
    assert "holds packed weights (fp8), which nothing can be added to" in refused.err
    assert "leave --base out" in refused.err


def test_a_run_on_a_variant_waits_for_a_worker_that_unpacks_it(registered, folders):
    registered("push", folders["lora"], "me/chat", "--base", "root-fp8")

    ended = registered("verify", "me/chat:v1", "--variant", "root-fp8", "--json")
    strange = registered("verify", "me/chat:v1", "--variant", "root")

    assert ended.status == 0
    assert (ended.json["variant"], ended.json["state"]) == ("root-fp8", "queued")
    assert strange.status == 2
    assert "root is no variant of the base of this version" in strange.err
    assert "name one of root-fp8" in strange.err


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--variant-of", "root"], 2, "a variant needs its root and its scheme"),
        (["--quantised", "fp8"], 2, "a variant needs its root and its scheme"),
        (["--variant-of", "root", "--quantised", "bnb4"], 2, "say --quantised fp8"),
        (["--variant-of", "root-fp8", "--quantised", "fp8"], 2, "a variant of root itself"),
        (["--variant-of", "absent", "--quantised", "fp8"], 3, "there is no base 'absent'"),
        (["--variant-of", "root", "--quantised", "gguf"], 2, "'gguf' is not one of"),
        (["--hub-id", "not an id"], 2, "no id of the hub"),
    ],
)
def test_what_is_no_variant_ends_with_its_status(registered, folders, options, status, words):
    shutil.copytree(folders["fp8"], folders["fp8"].parent / "copy")

    ended = registered("base", "register", folders["fp8"].parent / "copy", "again", *options)

    assert ended.status == status
    assert words in ended.err


def test_a_policy_that_names_no_variant_is_refused(registered, folders, tmp_path):
    registered("push", folders["lora"], "me/chat", "--base", "root-fp8")
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"suites": ["smoke"], "variants": ["root"]}))

    ended = registered("channel", "policy", "set", "me/chat", "dev", file)

    assert ended.status == 2
    assert "there is no variant 'root'" in ended.err
