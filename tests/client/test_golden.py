"""`push --golden`: the publisher's outputs travel with the version and come back with it."""

import re

import numpy as np
import pytest
import sqlalchemy as sa
from safetensors.numpy import save_file

from deltareg.client.push.golden_of_push import UNSEEN
from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import BaseMismatch, InvalidInput, NotFound
from deltareg.host.weights_files import weights_digests
from deltareg.suites.golden import GoldenOrigin, GoldenOutputs, sample_of
from deltareg.suites.golden_file import GOLDEN_FILE, decode, encode
from deltareg.wire import CheckResult, LeaseRequest
from tests import tiny
from tests.architecture.tree import REPOSITORY
from tests.fixtures.registries import report
from tests.service import rows

FIGURES = REPOSITORY / "docs" / "planted.md"
SHARES = {"a third of": 1 / 3, "half of": 1 / 2, "two thirds of": 2 / 3}
IDS = np.array([[1, 2, 3]])
LOGITS = np.random.default_rng(0).standard_normal((1, 3, tiny.VOCABULARY)).astype(np.float32)


@pytest.fixture
def folders(tmp_path):
    base = tiny.base(tmp_path / "base")
    return tiny.lora(tmp_path / "delta", base).path, base.path


def golden_file(folder, tensors):
    save_file(tensors, folder / "golden.safetensors")
    return folder / "golden.safetensors"


def test_golden_outputs_are_kept_with_the_version(local_registry, folders, tmp_path):
    client = local_registry.client()
    delta, base = folders
    client.bases.push(base, "tiny")
    file = golden_file(tmp_path, {"inputs.input_ids": IDS, "outputs.logits": LOGITS})

    pushed = client.push(delta, "me/chat", base="tiny", golden=file)
    pulled = client.pull(pushed.version.ref, tmp_path / "pulled")

    golden = decode((pulled.path / GOLDEN_FILE).read_bytes())
    (sample,) = golden.samples
    assert np.array_equal(sample.inputs["input_ids"], IDS)
    assert sample.outputs["logits"].shape == LOGITS.shape
    assert golden.origin.how == "by_publisher"
    assert not (delta / GOLDEN_FILE).exists()


def test_what_the_newest_verdict_says_of_golden_outputs_is_shown_at_once(both_databases, folders, tmp_path):
    client = both_databases.client()
    delta, base = folders
    client.bases.push(base, "tiny")
    file = golden_file(tmp_path, {"inputs.input_ids": IDS, "outputs.logits": LOGITS})
    ref = client.push(delta, "me/chat", base="tiny", golden=file).version.ref
    worker = both_databases.client(("read", "verify"), principal="worker", kind="wrk")
    seen = [client.show(ref).golden]

    for outcome in ("pass", "fail", "pass"):
        client.verify(ref, again=True)
        grant = worker.lease(LeaseRequest(worker="scripted"))
        told = report(grant, verdict=outcome, fail="golden")
        kept = [one for one in told.checks if one.name != "golden"]
        said = CheckResult(name="golden", verdict=outcome, value=1.0, detail="recorded by its publisher; one input")
        worker.complete_run(grant.run, told.model_copy(update={"checks": [*kept, said]}))
        seen += [client.show(ref).golden, client.show(ref).golden]  # read, and known

    says = [f"recorded by its publisher: {outcome}" for outcome in ("pass", "fail", "pass")]
    assert seen == ["recorded; a verification says how", *(line for line in says for _ in range(2))]


def test_a_folder_with_golden_outputs_can_be_pushed_again(local_registry, folders, tmp_path):
    client = local_registry.client()
    delta, base = folders
    client.bases.push(base, "tiny")
    file = golden_file(tmp_path, {"inputs.input_ids": IDS, "outputs.logits": LOGITS})
    first = client.push(delta, "me/chat", base="tiny", golden=file)
    pulled = client.pull(first.version.ref, tmp_path / "pulled")

    again = client.push(pulled.path, "me/chat", base="tiny")

    with_file = client.push(pulled.path, "me/chat", base="tiny", golden=file)

    assert again.version.digest == first.version.digest == with_file.version.digest


def test_a_file_that_is_named_takes_the_place_of_the_folders_own(local_registry, folders, tmp_path):
    client = local_registry.client()
    delta, base = folders
    client.bases.push(base, "tiny")
    put_golden(delta, "in_training")
    before = (delta / GOLDEN_FILE).read_bytes()
    file = golden_file(tmp_path, {"inputs.input_ids": IDS, "outputs.logits": LOGITS})

    pushed = client.push(delta, "me/chat", base="tiny", golden=file)

    assert pushed.golden == "recorded by the publisher"
    assert pushed.notes == [f"the {GOLDEN_FILE} in the folder is not used: --golden names another"]
    assert (delta / GOLDEN_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("recorded", "golden", "is_told"),
    [(None, None, True), ("by_library", None, True), ("in_training", None, False), (None, False, False)],
)
def test_the_first_push_of_a_line_says_what_goes_unseen_without_outputs_from_training(
    local_registry, folders, tmp_path, recorded, golden, is_told
):
    client = local_registry.client()
    delta, base = folders
    client.bases.push(base, "tiny")
    if recorded is not None:
        put_golden(delta, recorded, base=str(client.bases.show("tiny").root))

    first = client.push(delta, "me/chat", base="tiny", golden=golden)
    same = client.push(delta, "me/chat", base="tiny", golden=golden)
    later = client.push(
        tiny.lora(tmp_path / "later", tiny.base(tmp_path / "again"), seed=5).path, "me/chat", base="tiny"
    )

    assert (UNSEEN in first.notes) == is_told
    assert UNSEEN not in [*same.notes, *later.notes]
    assert later.version.version == 2


def test_the_share_that_a_push_says_goes_unseen_is_that_of_the_planted_sets():
    row = next(line for line in FIGURES.read_text().splitlines() if line.startswith("| `smoke` alone |"))
    counts = [(int(count), int(whole)) for count, whole in re.findall(r"(\d+) of (\d+)", row)]
    damage = counts[::2]  # behind each stands how many healthy ones fail

    unseen = 1 - sum(stopped for stopped, _ in damage) / sum(whole for _, whole in damage)

    assert len(damage) >= 2
    assert min(SHARES, key=lambda word: abs(SHARES[word] - unseen)) in UNSEEN


def put_golden(folder, how, **origin):
    """Write outputs as some process would have recorded them; what they are does not matter here."""
    told = GoldenOrigin(how, **({"weights": weights_digests(folder)} | origin))
    sample = sample_of({"input_ids": IDS}, {"logits": LOGITS})
    (folder / GOLDEN_FILE).write_bytes(encode(GoldenOutputs((sample,), told)))
    return folder / GOLDEN_FILE


def test_a_named_file_of_other_weights_is_refused_and_never_replaced(local_registry, folders, tmp_path):
    """The outputs of a healthy adapter beside broken weights: the corruption has to show."""
    client = local_registry.client()
    delta, base = folders
    client.bases.push(base, "tiny")
    file = put_golden(delta, "by_library").rename(tmp_path / "healthy.json")
    tiny.lora(delta, tiny.base(tmp_path / "again"), seed=7)

    with pytest.raises(InvalidInput, match=r"healthy\.json was recorded with other weights: adapter_model") as refused:
        client.push(delta, "me/chat", base="tiny", golden=file)

    assert "golden record FOLDER --base tiny" in refused.value.fix
    with pytest.raises(NotFound):
        client.show("me/chat:v1")


def test_outputs_count_for_the_base_that_they_name_alone(local_registry, folders, tmp_path):
    client = local_registry.client()
    delta, base = folders
    client.bases.push(base, "tiny")
    other = f"blake3:{'7' * 64}"
    file = put_golden(delta, "by_library", base=other)

    with pytest.raises(BaseMismatch, match="computed on another base than tiny"):
        client.push(delta, "me/chat", base="tiny", golden=file)
    pushed = client.push(delta, "me/chat", base="tiny")
    put_golden(delta, "by_library", base=str(client.bases.show("tiny").root))
    right = client.push(delta, "me/chat", base="tiny", golden=file)

    assert f"{GOLDEN_FILE} (computed on another base)" in pushed.left_out
    assert GOLDEN_FILE not in client.show(pushed.version.ref).files
    assert GOLDEN_FILE in client.show(right.version.ref).files


def test_what_an_earlier_release_left_in_a_folder_is_set_aside_unless_it_is_the_same_push(local_registry, folders):
    """It recorded on any base that was named, and wrote that into the folder without the base's name."""
    client = local_registry.client()
    delta, base = folders
    client.bases.push(base, "tiny")
    file = put_golden(delta, "by_library")
    first = client.push(delta, "me/before", base="tiny", golden=file)

    again = client.push(delta, "me/before", base="tiny")
    new = client.push(delta, "me/after", base="tiny")
    local_registry.verified(first.version.ref, verdict="fail")
    after_failure = client.push(delta, "me/before", base="tiny")

    assert (again.version.ref, again.created) == ("me/before:v1", False)
    assert any("does not say on which base" in one for one in new.left_out)
    assert after_failure.version.ref == "me/before:v2"
    assert GOLDEN_FILE not in client.show("me/before:v2").files


def test_a_version_says_that_it_has_outputs_and_how_they_were_recorded(local_registry, folders, tmp_path):
    client = local_registry.client()
    delta, base = folders
    client.bases.push(base, "tiny")
    ref = client.push(delta, "me/chat", base="tiny").version.ref
    file = golden_file(tmp_path, {"inputs.input_ids": IDS, "outputs.logits": LOGITS})
    with_it = client.push(delta, "me/chat", base="tiny", golden=file)

    plain, fresh = client.show(ref), client.show(with_it.version.ref)
    local_registry.verified(with_it.version.ref)
    with write(local_registry.registry.engine) as conn, rows.unguarded(conn, t.verdicts):
        told = [{"name": "golden", "verdict": "pass", "detail": "recorded in training; logits"}]
        conn.execute(sa.update(t.verdicts).values(checks=told))
    judged = client.show(with_it.version.ref)

    assert with_it.golden == "recorded by the publisher"
    assert (plain.golden, fresh.golden) == ("", "recorded; a verification says how")
    assert judged.golden == "recorded in training: pass"


WRONG = {
    "no outputs": {"inputs.input_ids": IDS},
    "no inputs": {"outputs.logits": LOGITS},
    "a name that is neither": {"inputs.input_ids": IDS, "outputs.logits": LOGITS, "logits": LOGITS},
    "whole numbers as outputs": {"inputs.input_ids": IDS, "outputs.logits": IDS},
    "inputs of a dtype that nothing takes": {"inputs.input_ids": IDS.astype(np.int16), "outputs.logits": LOGITS},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_holds_something_else_is_refused(local_registry, folders, tmp_path, name):
    client = local_registry.client()
    delta, base = folders
    client.bases.push(base, "tiny")

    with pytest.raises(InvalidInput, match="holds no golden outputs"):
        client.push(delta, "me/chat", base="tiny", golden=golden_file(tmp_path, WRONG[name]))
