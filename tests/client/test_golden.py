"""`push --golden`: the publisher's outputs travel with the version and come back with it."""

import numpy as np
import pytest
import sqlalchemy as sa
from safetensors.numpy import save_file

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import Conflict, InvalidInput
from deltareg.suites.golden_file import GOLDEN_FILE, decode
from tests import tiny
from tests.service import rows

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


def test_a_folder_with_golden_outputs_can_be_pushed_again(local_registry, folders, tmp_path):
    client = local_registry.client()
    delta, base = folders
    client.bases.push(base, "tiny")
    file = golden_file(tmp_path, {"inputs.input_ids": IDS, "outputs.logits": LOGITS})
    first = client.push(delta, "me/chat", base="tiny", golden=file)
    pulled = client.pull(first.version.ref, tmp_path / "pulled")

    again = client.push(pulled.path, "me/chat", base="tiny")

    assert again.version.digest == first.version.digest
    with pytest.raises(Conflict, match=r"deltareg-golden\.json"):
        client.push(pulled.path, "me/chat", base="tiny", golden=file)


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
