"""Each command over a real registry: what it does, and the fields that scripts rely on."""

import filecmp
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deltareg.digest import sha256_of
from deltareg.store import fresh_key
from deltareg.wire import LeaseRequest, RunFailure
from tests.cli.steps import BAD, BASES, DELTAS, done, push, push_base
from tests.client.reencoding import WORKER, work
from tests.client.torch_archive import pickles
from tests.proving import prover_of

KINDS = {"me/chat:v1": "lora", "me/full": "full"}


@pytest.fixture
def promoted(user, local_registry):
    """Give a user whose line me/chat has v1 and v2, both verified, and v2 on prod after v1."""
    user.step("promoted", lambda: promote_both(user, local_registry))
    return user


def promote_both(user, registry):
    for delta in ("lora", "lora_v2"):
        ref = push(user, delta)
        registry.verified(ref)
        done(user, "promote", ref, "--channel", "prod", "-m", f"try {delta}")


def test_base_push_register_ls_show_fingerprint(user):
    stored = push_base(user)
    registered = user("base", "register", BASES / "tinyllama_other", "other", "--json").json
    fingerprint = user("base", "fingerprint", BASES / "tinyllama_sharded", "--json").json
    listed = user("base", "ls", "--json").json["items"]

    assert (stored["is_stored"], registered["is_stored"]) == (True, False)
    assert fingerprint["root"] == stored["root"] != registered["root"]
    assert {base["name"]: base["root"] for base in listed} == {"tinyllama": stored["root"], "other": registered["root"]}
    assert stored["root"] in user("base", "show", "tinyllama").out


def test_lint_says_what_it_is_offline(shell):
    ended = shell("lint", DELTAS / "lora_dora", "--base", BASES / "tinyllama", "--json")

    assert ended.status == 0
    assert list(ended.json)[1:8] == ["kind", "variant", "foldable", "base_match", "modules", "tensors", "problems"]
    assert (ended.json["kind"], ended.json["variant"]) == ("lora", "dora")


def test_lint_says_what_engines_can_serve(shell):
    words = ("lint", DELTAS / "lora_rslora", "--base", BASES / "tinyllama")

    of_all = shell(*words)
    fits, other = shell(*words, "--engine", "vllm"), shell(*words, "--engine", "sglang")

    assert "vllm; llamacpp" in of_all.out
    assert "sglang (rank-stabilised: it scales by alpha / r)" in other.out
    assert [of_all.status, fits.status, other.status] == [0, 0, 2]


@pytest.mark.parametrize(("sample", "code"), [("pickle_bin", "pickle"), ("missing_half", "missing_tensors")])
def test_lint_refuses_on_stdout(shell, sample, code):
    ended = shell("lint", BAD / sample, "--base", BASES / "tinyllama", "--json")

    assert ended.status == 2
    assert code in {problem["code"] for problem in ended.json["problems"]}


def test_convert_gives_the_promised_fields(shell, tmp_path):
    tensor = pickles.state(pickles.tensor(), name="base_model.model.x.lora_A.weight")
    archive = pickles.in_zip(tmp_path / "adapter_model.bin", tensor)

    ended = shell("convert", archive, "--out", tmp_path / "out", "--json")

    assert ended.status == 0
    assert ended.json == {
        "schema_version": 1,
        "path": str(tmp_path / "out"),
        "source": "pickle",
        "result": "safetensors",
        "files": ["adapter_model.safetensors"],
        "tensors": 1,
        "size_bytes": 16,
        "source_bytes": archive.stat().st_size,
        "left_out": [],
    }


def test_convert_writes_what_another_program_reads(shell, tmp_path):
    line = ["convert", DELTAS / "lora", "--base", BASES / "tinyllama", "--json"]

    there = shell(*line, "--to", "mlx", "--out", tmp_path / "mlx")
    line[1] = tmp_path / "mlx"
    back = shell(*line, "--out", tmp_path / "peft")

    assert (there.status, back.status) == (0, 0)
    assert (there.json["source"], there.json["result"]) == ("lora", "mlx")
    assert (back.json["source"], back.json["result"]) == ("mlx", "lora")
    assert there.json["files"] == ["adapters.safetensors"]


def test_convert_takes_the_folder_by_its_older_option(shell, tmp_path):
    archive = pickles.in_zip(tmp_path / "x.bin", pickles.state(pickles.tensor(), name="x"))

    ended = shell("convert", archive, "--to", tmp_path / "out", "--json")

    assert (ended.status, ended.json["path"]) == (0, str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "where the new folder goes is not said"),
        (["--to", "mlx"], "mlx is a layout: where its folder goes is not said"),
        (["--to", "onnx", "--out", "x"], "no layout is called 'onnx'"),
        (["--out", "x.gguf", "--to", "gguf"], "is the name of a file"),
    ],
)
def test_convert_says_which_of_its_options_is_missing(shell, tmp_path, options, told):
    ended = shell("convert", tmp_path, *options)

    assert ended.status == 2
    assert told in ended.err
    assert "--out" in ended.err or "--to takes" in ended.err


@pytest.mark.parametrize("sample", ["pickle_bin", "pickle_archive", "pickle_renamed"])
def test_convert_refuses_a_pickle_that_wants_more(shell, tmp_path, sample):
    ended = shell("convert", BAD / sample, "--to", tmp_path / "out")

    assert ended.status == 2
    assert "pickle" in ended.err
    assert not (tmp_path / "out").exists()


def test_push_gives_the_promised_fields(user):
    push_base(user)

    line = ["push", DELTAS / "lora", "me/chat", "--base", "tinyllama", "-m", "epoch 3", "--json"]
    first, again = user(*line).json, user(*line).json

    assert {
        "ref",
        "version",
        "digest",
        "kind",
        "foldable",
        "created",
        "logical_bytes",
        "stored_bytes",
        "uploaded_bytes",
    } <= set(first)
    assert (first["ref"], first["created"], again["created"]) == ("me/chat:v1", True, False)
    assert again["uploaded_bytes"] == 0
    assert again["digest"] == first["digest"]


def test_push_says_what_it_leaves_out(user):
    push_base(user)

    ended = user("push", DELTAS / "lora_checkpoint", "me/chat", "--base", "tinyllama")

    assert ended.status == 0
    assert ended.err.count("left out") == 1
    assert "optimizer" in ended.err
    assert "left out" not in ended.out


def test_push_dry_run_sends_nothing(user):
    push_base(user)

    ended = user("push", DELTAS / "lora", "me/chat", "--base", "tinyllama", "--dry-run")

    assert ended.status == 0
    assert "push would take it" in ended.out
    assert user("ls", "-q").out == ""


def test_push_waits_for_a_verdict_that_counts(user, local_registry):
    ref = push(user)
    local_registry.verified(ref, verdict="fail")

    ended = user("push", DELTAS / "lora", "me/chat", "--base", "tinyllama", "--wait", "--json")

    assert ended.status == 8
    assert ended.json["ref"] == ref
    assert ended.json["verdict"] == "fail"


@pytest.mark.parametrize("word", ["--verify", "--verify=smoke"])
def test_verify_of_a_push_never_takes_the_path_for_a_suite(user, word):
    push_base(user)

    ended = user("push", word, DELTAS / "lora", "me/chat", "--base", "tinyllama", "--json")

    assert ended.status == 0
    assert ended.json["run"]


def test_labels_are_pairs_or_words(user):
    push(user, "lora", "--label", "run=7", "--label", "lr=1e-4=x", "--label", "seen")

    labels = user("show", "me/chat", "--json").json["labels"]
    assert labels == {"run": "7", "lr": "1e-4=x", "seen": ""}
    assert user("push", ".", "me/x", "--base", "b", "--label", "=run").status == 2


def test_show_ls_log_and_lineage(promoted):
    shown = promoted("show", "me/chat", "--json").json
    log = promoted("log", "me/chat", "--json").json

    assert (shown["ref"], shown["verdict"], shown["channels"]) == ("me/chat:v2", "pass", ["prod"])
    assert set(log) == {"schema_version", "items", "next_cursor"}
    assert [entry["event"] for entry in log["items"]].count("promote") == 2
    assert "try lora_v2" in promoted("log", "me/chat", "--channel", "prod").out
    assert "base:tinyllama" in promoted("lineage", "me/chat:v1").out
    assert promoted("ls", "me").out.splitlines()[1].startswith("me/chat")


def test_lists_go_on_at_the_cursor(promoted):
    first = promoted("ls", "me/chat", "--limit", "1", "--json").json
    rest = promoted("ls", "me/chat", "--cursor", first["next_cursor"], "--json").json

    assert [item["ref"] for item in first["items"] + rest["items"]] == ["me/chat:v2", "me/chat:v1"]
    assert first["next_cursor"] in promoted("ls", "me/chat", "--limit", "1").err


def test_filters_narrow(promoted):
    assert promoted("ls", "--filter", "base=tinyllama", "-q").out == "me/chat\n"
    assert promoted("ls", "--filter", "base=other", "-q").out == ""


def test_promote_and_rollback_give_the_promised_fields(promoted):
    dry = promoted("rollback", "me/chat", "--channel", "prod", "--dry-run", "--json").json
    back = promoted("rollback", "me/chat", "--channel", "prod", "-m", "broke", "--json").json

    fields = ["channel", "revision", "kind", "version", "digest", "previous"]
    assert list(back)[1:7] == fields
    assert (back["revision"], back["kind"], back["version"], back["previous"]) == (3, "rollback", 1, 2)
    assert (dry["version"], dry["dry_run"]) == (1, True)
    assert promoted("channel", "show", "me/chat@prod", "--json").json["revision"] == 3


def test_promote_dry_run_asks_the_gate(promoted):
    ended = promoted("promote", "me/chat:v1", "--channel", "staging", "--dry-run", "--json")

    assert ended.status == 0
    assert (ended.json["allowed"], ended.json["dry_run"]) == (True, True)
    assert promoted("channel", "show", "me/chat", "staging", "--json").json["version"] is None


def test_promote_if_current(promoted):
    line = ["promote", "me/chat:v1", "--channel", "prod", "--if-current"]

    assert promoted(*line, "v1").status == 5
    assert promoted(*line, "v2").status == 0


def test_gate_check_lists_what_is_unmet(user):
    ref = push(user)

    ended = user("gate", "check", ref, "--channel", "prod", "--json")

    assert list(ended.json)[1:3] == ["allowed", "unmet"]
    assert ended.json["unmet"][0]["rule"] == "missing"
    assert ended.json["unmet"][0]["fix"].startswith("deltareg verify ")


def test_quarantine_ends_with_a_reason(promoted):
    promoted("rollback", "me/chat", "--channel", "prod", "-m", "broke")
    quarantined = promoted("channel", "show", "me/chat", "prod", "--json").json["quarantined"]

    cleared = promoted("channel", "clear", "me/chat", "prod", "v2", "-m", "it was the probe")

    assert quarantined == [2]
    assert cleared.status == 0
    assert promoted("promote", "me/chat:v2", "--channel", "prod").status == 0


def test_channel_ls_history_create(promoted):
    history = promoted("channel", "history", "me/chat", "prod", "--json").json["items"]
    promoted("channel", "create", "me/chat", "canary")

    assert [item["revision"] for item in history] == [2, 1]
    assert [item["reason"] for item in history] == ["try lora_v2", "try lora"]
    assert "canary" in promoted("channel", "ls", "me/chat", "-q").out.split()


def test_verdict_ls_and_show(promoted):
    listed = promoted("verdict", "ls", "me/chat:v1", "--json").json["items"]

    shown = promoted("verdict", "show", listed[0]["id"], "--json")

    assert list(shown.json)[1:5] == ["id", "verdict", "checks", "environment"]
    assert {"name", "value", "threshold", "baseline", "verdict", "seconds", "detail"} <= set(shown.json["checks"][0])


@pytest.mark.parametrize("given", ["../deltas", "1", ""])
def test_verdict_show_wants_an_id_or_a_version(shell, given):
    ended = shell("verdict", "show", given)

    assert ended.status == 2
    assert "deltareg explain invalid_input" in ended.err


def test_pull_gives_the_files_back(promoted):
    ended = promoted("pull", "me/chat", "--to", "here", "--json")
    again = promoted("pull", "me/chat@prod", "--json").json

    names = [path.name for path in (DELTAS / "lora_v2").iterdir()]
    same, *_ = filecmp.cmpfiles(DELTAS / "lora_v2", promoted.home / "here", names, shallow=False)
    assert list(ended.json)[1:7] == ["ref", "path", "digest", "fetched_bytes", "cached_bytes", "seconds"]
    assert ended.json["ref"] == "me/chat:v2"
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(same)
    assert again["fetched_bytes"] == 0


def test_pull_quiet_is_a_path(promoted):
    path = promoted("pull", "me/chat:v1", "-q").out.strip()

    assert "\n" not in path
    assert Path(path).is_relative_to(promoted.home)


def test_materialize_has_the_names_of_the_base(promoted):
    ended = promoted("materialize", "me/chat", "--out", "full", "--json")

    assert ended.status == 0
    assert ended.json["ref"] == "me/chat:v2"
    assert (promoted.home / "full" / "model.safetensors").is_file()
    assert promoted("materialize", "me/chat:v1", "--out", "full").status == 5


def test_diff_in_every_format(promoted):
    line = ["diff", "me/chat:v1", "me/chat:v2"]

    document = promoted(*line, "--json").json
    markdown = promoted(*line, "--format", "md").out

    assert {"a", "b", "files", "config", "tensors", "modules"} <= set(document)
    assert {"module", "relative_norm", "cosine", "rank_a", "rank_b", "overlap"} <= set(document["modules"][0])
    assert promoted(*line, "--format", "json").json == document
    assert markdown.startswith("### `me/chat:v1` → `me/chat:v2`\n")
    assert "| module | apart |" in markdown
    assert "Modules" in promoted(*line).out
    assert "no difference" in promoted("diff", "me/chat:v1", "me/chat:v1").out


def test_diff_between_kinds(user):
    """A setting that only one of two kinds has is no change, whatever its value looks like."""
    adapter = push(user, "lora_patterns")
    assert user("push", DELTAS / "full", "me/full", "--base", "tinyllama").status == 0

    for pair in ((adapter, "me/full"), ("me/full", adapter)):
        ended = user("diff", *pair)

        assert ended.status == 0, ended.err
        assert f"kind     {' → '.join(KINDS[ref] for ref in pair)}\n" in ended.out
        assert "config" not in ended.out.split("Modules")[0].replace("config.json", "")


def test_rm_asks_first_and_collection_frees(user):
    ref = push(user)

    unasked, said = user("rm", ref), user("rm", ref, "--yes")
    plan = user("gc", "plan", "--grace", "0s", "--json").json
    freed = user("gc", "run", "--grace", "0s", "--json").json

    assert (unasked.status, said.status) == (2, 0)
    assert "--yes" in unasked.err
    assert (plan["dry_run"], freed["dry_run"]) == (True, False)
    assert plan["bytes"] == freed["bytes"] > 0
    assert user("show", ref).status in {3, 13} or user("show", ref, "--json").json["is_deleted"]


def test_what_is_deleted_is_not_pulled_until_it_is_restored(user):
    """Not from the cache either."""
    ref = push(user)
    done(user, "pull", ref)
    done(user, "rm", ref, "--yes")

    refused = user("pull", ref)
    back = user("restore", ref, "--json")
    pulled = user("pull", ref)

    assert (refused.status, back.status, pulled.status) == (13, 0, 0)
    assert f"deltareg restore {ref}" in refused.err
    assert back.json["is_deleted"] is False


def test_flatten_gives_a_run_and_waits_for_its_end(user, local_registry):
    ref = push(user)
    queued = user("flatten", ref, "--json")
    work(local_registry.client(WORKER, principal="worker", kind="wrk"), prover_of(local_registry))

    told = user("flatten", ref)
    late = user("flatten", ref, "--wait", "--timeout", "0s")
    again = user("flatten", "me/chat")

    assert queued.json["what"] == "reencode"
    assert (queued.json["state"], queued.json["verdict"]) == ("queued", None)
    assert "against the base alone" in told.out
    assert late.status == 124
    assert again.status == 2


def test_flatten_says_why_nothing_came_of_it(user, local_registry):
    ref = push(user)
    worker = local_registry.client(WORKER, principal="worker", kind="wrk")

    def give_up():
        for _ in range(3):
            request = LeaseRequest(worker="w1", what=["reencode"], wait_s=20)
            grant = worker.lease(request)
            worker.fail_run(grant.run, RunFailure(fence=grant.fence, error="no base here"))

    with ThreadPoolExecutor(1) as pool:
        failing = pool.submit(give_up)
        ended = user("flatten", ref, "--wait")
        failing.result()

    assert ended.status == 75
    assert "is stored as before: no base here" in ended.err
    assert user("show", ref, "--json").json["verdict"] is None


def test_gc_run_dry_is_a_plan(user):
    assert user("gc", "run", "--dry-run", "--json").json["dry_run"] is True


def test_fsck_finds_what_is_lost(user, local_registry):
    push(user)
    sound = user("fsck", "--read-data", "--json")
    pack = next(path for path in (local_registry.folder / "blobs").rglob("*") if path.is_file())
    stray = local_registry.folder / "blobs" / fresh_key(sha256_of(b"stray"), attempt=uuid.uuid4())
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"stray")
    with_stray = user("fsck")
    stray.unlink()
    pack.unlink()

    ended = user("fsck")

    assert with_stray.status == 0
    assert "no data is lost; 1 leftover that no row names" in with_stray.out
    assert (sound.status, sound.json["findings"]) == (0, [])
    assert ended.status == 6
    assert "data is LOST or damaged: 1 finding" in ended.out


def test_fsck_repair_names_the_push_that_heals(user, local_registry):
    ref = push(user)
    for pack in (local_registry.folder / "blobs").rglob("*"):
        if pack.is_file():
            pack.unlink()

    told = user("fsck", "--repair")
    named = user("fsck", "--repair", "--json")
    checked = user("fsck", "--pieces", "--wait", "--timeout", "0s")

    assert (told.status, named.status) == (6, 6)
    assert "deltareg base push PATH" in told.out
    assert ref in {one["subject"] for one in named.json["to_push"]}
    assert f"deltareg push PATH {ref.partition(':')[0]} --base" in " ".join(one["fix"] for one in named.json["to_push"])
    assert checked.status == 124


def test_storage_lists_forms_and_has_none_to_go_back_to(user):
    ref = push(user)

    listed = user("storage", "history", ref)
    forms = user("storage", "history", ref, "--json").json["forms"]
    refused = user("storage", "revert", ref)

    assert "served" in listed.out
    assert [(one["state"], one["why"]) for one in forms] == [("served", "push")]
    assert refused.status == 3


def test_audit_names_who_did_what(promoted):
    items = promoted("audit", "ls", "--actor", "ana", "--json").json["items"]

    assert {item["actor"] for item in items} == {"ana"}
    assert "channel.promote" in {item["action"] for item in items}


def test_token_create_ls_revoke(user, monkeypatch):
    line = ["token", "create", "--for", "bo", "--scope", "read", "--expires", "30d", "--json"]
    made = user(*line).json
    monkeypatch.setenv("DELTAREG_TOKEN", made["token"])
    before = user("auth", "status", "--json")
    monkeypatch.delenv("DELTAREG_TOKEN")
    revoked = user("token", "revoke", made["id"])
    monkeypatch.setenv("DELTAREG_TOKEN", made["token"])

    assert (before.json["principal"], before.json["token_from"]) == ("bo", "DELTAREG_TOKEN")
    assert revoked.status == 0
    assert user("auth", "status").status == 4


def test_a_token_is_shown_once_and_alone_when_quiet(user):
    secret = user("token", "create", "--for", "bo", "-q").out.strip()

    listed = user("token", "ls").out

    assert secret.startswith("drg_pat_")
    assert secret not in listed


def test_cache_ls_prune_path(promoted):
    promoted("pull", "me/chat")
    entries = promoted("cache", "ls", "--json").json

    would = promoted("cache", "prune", "--max-size", "0", "--dry-run", "--json").json
    freed = promoted("cache", "prune", "--max-size", "0", "--json").json

    assert entries["total_bytes"] > 0
    assert would["bytes"] == freed["bytes"] > 0
    assert promoted("cache", "ls", "--json").json["items"] == []
    assert promoted("cache", "path").out.strip() == str(promoted.home / "cache" / "deltareg")


def test_cache_pin_rm_unpin(promoted):
    promoted("pull", "me/chat")

    pinned = promoted("cache", "pin", "me/chat@prod", "--json").json
    listed = promoted("cache", "ls", "--json").json
    table = promoted("cache", "ls").out
    kept = promoted("cache", "prune", "--max-size", "0", "--json").json
    refused = promoted("cache", "rm", "me/chat")
    promoted("cache", "unpin", "me/chat")
    removed = promoted("cache", "rm", listed["items"][0]["digest"][:12], "--json").json

    assert pinned["name"].startswith("me/chat:v")
    assert {item["is_pinned"] for item in listed["items"]} == {True}
    assert table.count("pinned") == len(listed["items"])
    assert kept["removed"] == 0
    assert (refused.status, "cache unpin me/chat:v" in refused.err) == (5, True)
    assert removed["removed"] == 1


def test_doctor_is_content_and_says_when_not(user, monkeypatch):
    well = user("doctor", "--json")
    monkeypatch.setenv("DELTAREG_TOKEN", "drg_pat_nonsense")
    stranger = user("doctor")
    monkeypatch.setenv("DELTAREG_SERVER", "http://127.0.0.1:1")
    alone = user("doctor")
    monkeypatch.setenv("DELTAREG_TIMEOUT", "soon")
    unset = user("doctor")

    assert (well.status, well.json["healthy"]) == (0, True)
    assert [ended.status for ended in (stranger, alone, unset)] == [4, 75, 2]
    assert "deltareg up" in alone.out
