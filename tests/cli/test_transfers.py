"""What pull, update, materialize and the cache say to a person, and what they advise."""

import sys

from tests.cli.steps import BASES, DELTAS, done, push, push_base
from tests.fixtures.registries import SAMPLES


def push_two(user):
    """Push v1 and v2 of me/chat."""
    push(user)
    return push(user, "lora_v2")


def test_an_update_from_the_cache_says_that_all_is_here(user):
    push_two(user)
    for number in (2, 1):
        assert user("pull", f"me/chat:v{number}", "--to", f"v{number}").status == 0

    plan = user("update", "v1", "--to", ":v2", "--plan")
    document = user("update", "v1", "--to", ":v2", "--plan", "--json").json
    done = user("update", "v1", "--to", ":v2")
    again = user("update", "v1", "--to", ":v2")

    assert plan.out == "me/chat:v2 would be in v1 (before: me/chat:v1); nothing to fetch\n"
    assert (document["plan"], document["fetched_bytes"], document["full_bytes"]) == ("full", 0, 0)
    assert done.out == "me/chat:v2 is in v1 (before: me/chat:v1); nothing to fetch\n"
    assert again.out == "me/chat:v2 is in v1 (before: me/chat:v2); the folder holds it already\n"


def test_an_update_says_that_a_folder_was_changed(user):
    push_two(user)
    user("pull", "me/chat:v1", "--to", "v1")
    (user.home / "v1" / "adapter_config.json").write_text("{}")

    plan = user("update", "v1", "--to", ":v1", "--plan")
    document = user("update", "v1", "--to", ":v1", "--json").json
    after = user("update", "v1", "--to", ":v1", "--json").json

    assert "(before: me/chat:v1, changed since)" in plan.out
    assert (document["was_written_to"], document["is_changed"]) == (True, True)
    assert (after["was_written_to"], after["is_changed"], after["plan"]) == (False, False, "none")


def test_an_update_of_nothing_says_what_to_write(user):
    push_two(user)

    missing = user("update", "nowhere", "--to", ":v2")
    nameless = user("update", "nowhere", "--to", "v2")

    assert (missing.status, nameless.status) == (3, 2)
    assert "deltareg pull ns/name:v2 --to nowhere" in missing.err
    assert "write :v3, @prod or ns/name:v3" in nameless.err


def test_a_taken_folder_of_ours_is_to_be_updated(user):
    push_two(user)
    user("pull", "me/chat:v1", "--to", "files")
    user("materialize", "me/chat:v1", "--out", "model")
    (user.home / "mine").mkdir()
    (user.home / "mine" / "notes").write_text("mine")

    pulled = user("pull", "me/chat:v2", "--to", "files")
    folded = user("materialize", "me/chat:v2", "--out", "model")
    others = user("pull", "me/chat:v2", "--to", "mine")

    assert {pulled.status, folded.status, others.status} == {5}
    assert "deltareg update files --to me/chat:v2" in pulled.err
    assert "deltareg update model --to me/chat:v2" in folded.err
    assert "deltareg update" not in others.err


def test_an_expectation_that_is_no_digest_costs_no_fold(user):
    push(user)

    ended = user("materialize", "me/chat:v1", "--out", "model", "--expect", "blake3:00")

    assert ended.status == 2
    assert not (user.home / "model").exists()


def test_a_damaged_cache_says_what_mends_it(user):
    push(user)
    user("pull", "me/chat:v1")
    for path in (user.home / "cache").rglob("blobs/sha256/*/*"):
        path.chmod(0o644)
        path.write_bytes(b"damaged")

    found = user("cache", "verify")
    fixed = user("cache", "verify", "--fix")

    assert (found.status, fixed.status) == (6, 0)
    assert "deltareg cache verify --fix" in found.err
    assert "--fix" not in fixed.err


def test_a_base_that_was_there_is_said_to_be(user):
    push_base(user)

    again = user("base", "push", BASES / "tinyllama", "tinyllama")
    new = user("base", "register", BASES / "tinyllama_other", "other")

    assert again.out.startswith("tinyllama  was there already: llama, 21 tensors")
    assert new.out.startswith("other  llama, 21 tensors")


def test_up_elsewhere_says_how_other_commands_find_it(processes):
    command = (sys.executable, "-m", "deltareg.api", "up", "--workers", "0")

    server = processes.api(command=command).start()
    first = server.url, server.process.output
    server.stop()
    server.start()

    for url, said in (first, (server.url, server.process.output)):
        assert f"export DELTAREG_SERVER={url}" in said


def test_what_is_pushed_again_shows_its_verdict(user, local_registry):
    ref = push(user)
    before = user("push", DELTAS / "lora", "me/chat", "--base", "tinyllama")
    local_registry.verified(ref)
    after = user("push", DELTAS / "lora", "me/chat", "--base", "tinyllama")

    assert before.out.splitlines()[1] == f"its checks are queued; wait for them: deltareg verify {ref} --wait"
    assert after.out.splitlines()[1] == "passes its checks"


def test_several_versions_come_into_folders_of_one(user):
    push_two(user)
    done(user, "push", DELTAS / "lora", "me/code", "--base", "tinyllama")

    table = user("pull", "me/chat:v2", "me/code:v1", "--to", "models")
    document = user("pull", "me/chat:v2", "me/code:v1", "--to", "models", "--json").json
    nowhere = user("pull", "me/chat:v2", "me/code:v1")
    twice = user("pull", "me/chat:v1", "me/chat:v2", "--to", "models")

    assert table.status == 0, table.err
    assert [one["ref"] for one in document["pulled"]] == ["me/chat:v2", "me/code:v1"]
    assert sorted(path.name for path in (user.home / "models").iterdir()) == ["chat", "code"]
    assert (nowhere.status, twice.status) == (2, 2)
    assert "--to DIR" in nowhere.err
    assert "both lie in" in twice.err


def test_several_folders_are_pushed_by_one_command(user):
    push_base(user)
    bad = SAMPLES / "bad" / "wrong_prefix"

    lines = user("push", DELTAS / "lora", DELTAS / "lora_v2", "me/", "--base", "tinyllama")
    versions = user("push", DELTAS / "lora", DELTAS / "lora_v2", "me/sweep", "--base", "tinyllama", "--json").json
    refused = user("push", DELTAS / "lora", bad, "me/sweep", "--base", "tinyllama")
    labelled = user("push", DELTAS / "lora", DELTAS / "lora_v2", "me/sweep", "--base", "tinyllama", "--semver", "1.0.0")

    assert lines.status == 0, lines.err
    assert [row.split()[0] for row in lines.out.splitlines()[1:]] == ["me/lora:v1", "me/lora_v2:v1"]
    assert [one["ref"] for one in versions["pushed"]] == ["me/sweep:v1", "me/sweep:v2"]
    assert refused.status == 2
    assert f"{bad} was not pushed, 1 folder before it" in refused.err
    assert (labelled.status, "--semver is of one version" in labelled.err) == (2, True)


def test_files_are_chosen_by_their_names(user):
    push_two(user)

    some = user("pull", "me/chat:v1", "--to", "part", "--include", "*.json")
    none = user("pull", "me/chat:v1", "--to", "other", "--include", "*.bin")
    locked = user("lock", "me/chat:v1", "kept", "--include", "*.json")
    alone = user("lock", "--include", "*.json")

    assert some.status == locked.status == 0, some.err + locked.err
    assert all(path.suffix == ".json" for path in (user.home / "part").iterdir())
    assert (none.status, alone.status) == (2, 2)
    assert "adapter_model.safetensors" in none.err
    assert 'include = ["*.json"]' in (user.home / "delta.lock").read_text()


def test_push_and_show_say_what_a_cold_machine_fetches(user):
    push_base(user)
    pushed = done(user, "push", DELTAS / "lora", "me/chat", "--base", "tinyllama")
    shown = user("show", "me/chat:v1")
    document = user("show", "me/chat:v1", "--json").json

    assert document["cold_bytes"] >= document["stored_bytes"] > 0
    assert " stored, " in shown.out
    assert " for a cold pull)" in shown.out
    assert pushed["cold_bytes"] == document["cold_bytes"]
