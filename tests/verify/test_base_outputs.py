"""A base's outputs on the probe, computed once: those of a run, of no other probe, and of a plain file."""

import os
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from deltareg.errors import InvalidInput
from deltareg.wire import LeaseRequest
from deltareg_verify.child.main import known_outputs
from deltareg_verify.judging.examine import examine
from deltareg_verify.messages.base_outputs import MOST_BYTES, BaseOutputs
from deltareg_verify.supervisor.base_measures import BaseMeasures, read_outputs
from tests.fixtures.registries import SAMPLES
from tests.verify.bench import sample_bench, suite_of


@pytest.fixture(scope="module")
def bench(cache_dir):
    return sample_bench("tinyllama/lora_qv", cache_dir, suite=suite_of("effect", "attached_equals_folded", "reloads"))


@pytest.fixture(scope="module")
def known(bench, tmp_path_factory):
    """Give a file with the outputs of the base alone, as the child that measures it writes them."""
    engine = bench.engine(())
    file = tmp_path_factory.mktemp("outputs") / "outputs"
    file.write_bytes(BaseOutputs(engine.digest_probe(), engine.outputs("base")).encode())
    return file


def test_findings_are_those_of_a_run_that_computes_them(bench, known):
    asked = []

    def given(engine):
        asked.append(known_outputs(known, engine))
        return asked[-1]

    found, own = examine(bench.case(base_outputs=given)), examine(bench.case())

    facts = [[(one.name, one.verdict, one.value, one.baseline, one.detail) for one in each] for each in (found, own)]
    assert facts[0] == facts[1]
    assert [outputs is not None for outputs in asked] == [True]  # in the place of one forward


def test_outputs_on_another_probe_are_not_taken(bench, known, cache_dir):
    redrawn = sample_bench("tinyllama/lora_qv", cache_dir, suite=replace(bench.suite, seed=bench.suite.seed + 1))

    assert known_outputs(known, bench.engine()) is not None
    assert known_outputs(known, redrawn.engine()) is None


def test_outputs_of_another_base_are_not_taken(known, cache_dir):
    other = sample_bench("tinygpt2/lora", cache_dir)

    assert known_outputs(known, other.engine()) is None


def test_a_file_of_something_else_is_no_outputs():
    coarse = BaseOutputs("0", {"logits": np.zeros(2, np.float32)}).encode().replace(b"F32", b"I32")

    for raw in (b"", b"{}", coarse):
        with pytest.raises(InvalidInput):
            BaseOutputs.decode(raw)


def test_a_link_that_a_child_leaves_is_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"token")
    (tmp_path / "link").symlink_to(secret)
    (tmp_path / "hard").hardlink_to(secret)
    (tmp_path / "plain").write_bytes(b"outputs")
    (tmp_path / "long").touch()
    os.truncate(tmp_path / "long", MOST_BYTES + 1)
    os.mkfifo(tmp_path / "pipe")

    assert read_outputs(tmp_path / "plain") == b"outputs"
    assert {read_outputs(tmp_path / name) for name in ("link", "hard", "long", "pipe", "none")} == {b""}


@dataclass
class Watched:
    """The measures of a worker, and which files each run got of them."""

    real: BaseMeasures
    has_outputs: bool = True
    brought: list = field(default_factory=list)

    def bring(self, *told, **more):
        files = self.real.bring(*told, **more)
        self.brought.append(files if self.has_outputs else replace(files, outputs=None))
        return self.brought[-1]


@pytest.mark.soak
def test_a_worker_computes_them_once_for_all_versions_on_a_base(local_registry, find):
    client = local_registry.client()
    client.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    names = ("lora_qv", "lora", "lora_v2")
    for name in names:
        client.push(SAMPLES / "deltas" / "tinyllama" / name, f"team/{name}", base="tinyllama")
    watched = Watched(find.worker.measures)
    worker = replace(find.worker, measures=watched)
    forgetful = replace(worker, measures=Watched(find.worker.measures, has_outputs=False))

    def verify(worker, ref):
        run = client.verify(ref, again=True)
        worker.handle(find.client.lease(LeaseRequest(worker="w1", what=["verify"], run=run.id, labels={})))
        found = client.verdicts.show(client.runs.show(run.id).verdict.id)
        return [(one.name, one.verdict, one.value, one.detail) for one in found.checks if one.name != "resources"]

    found = {name: verify(worker, f"team/{name}") for name in names}

    assert [files.outputs is not None for files in watched.brought] == [True] * 3
    for name in names:  # here each run computes what the base gives
        assert verify(forgetful, f"team/{name}") == found[name]
