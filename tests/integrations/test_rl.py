"""Steps of a loop: pushed, served by a channel, followed by an agent, deleted when stale."""

import shutil
import threading
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from deltareg.client import Client
from deltareg.errors import Forbidden, GatePending, InvalidInput, WaitTimeout
from deltareg.integrations.rl import StepPushes
from tests.client.agents import running_agent, serves
from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES
from tests.proving import prove_all, prover_of

LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
WEIGHTS = "adapter_model.safetensors"
POLICY = {"smoke": False, "rollback": {"revisions": 1, "days": 0}}


@pytest.fixture(scope="module")
def prover(site):
    """Prove what comes in, in a thread, as a worker for that alone does."""
    worker, ended = prover_of(site), threading.Event()

    def work():
        while not ended.wait(0.02):
            prove_all(worker)

    thread = threading.Thread(target=work)
    thread.start()
    yield worker
    ended.set()
    thread.join(30)


@pytest.fixture
def owner(site):
    """Give a client that may push, promote and delete."""
    with Client(site._config(site.token("read", "push", "promote", "admin"))) as made:
        yield made


@pytest.fixture
def open_channel(owner, line):
    """Make a line with a channel that asks for proven bytes and nothing else."""
    owner.push(LORA, line, base="tinyllama", golden=False)
    owner.channels.create(line, "rollout")
    owner.channels.set_policy(line, "rollout", POLICY)
    return f"{line}@rollout"


class Policy:
    """A model in a loop, which saves itself as those of peft do."""

    def __init__(self):
        self.tensors = load_file(LORA / WEIGHTS)
        self._chance = np.random.default_rng(0)

    def train(self):
        """Move every weight a little."""
        for name, value in self.tensors.items():
            step = 1e-3 * self._chance.standard_normal(value.shape)
            self.tensors[name] = value + step.astype(value.dtype)

    def save_pretrained(self, folder):
        shutil.copy(LORA / "adapter_config.json", folder)
        save_file(self.tensors, f"{folder}/{WEIGHTS}", metadata={"format": "pt"})


def test_a_token_that_may_not_promote_is_noticed_before_the_loop(site, client, line):
    with pytest.raises(Forbidden, match="not for promote"):
        StepPushes(line, "rollout", base="tinyllama", client=client)
    with pytest.raises(InvalidInput, match="MyLoRA"):
        StepPushes("team/MyLoRA", "rollout", base="tinyllama", client=client)


def test_every_step_that_is_waited_for_is_served(owner, prover, line, open_channel, tmp_path):
    model = Policy()
    with (
        running_agent(owner, tmp_path, channels=(open_channel,)),
        StepPushes(line, "rollout", base="tinyllama", client=owner) as steps,
    ):
        for step in range(1, 4):
            model.train()
            steps.push(model, step, metrics={"reward": step / 2})
            ref = steps.wait(step)

            found = owner.show(open_channel)
            until(serves(tmp_path, found.version), "the agent serves it")
            served = load_file(tmp_path / "current" / WEIGHTS)
            assert found.ref == ref
            assert (found.labels["step"], found.labels["metric.reward"]) == (str(step), f"{step / 2:.6g}")
            assert all(np.array_equal(served[name], v) for name, v in model.tensors.items())


@pytest.mark.soak
def test_stale_steps_are_deleted_and_the_others_stay(owner, prover, line, open_channel):
    model = Policy()
    options = {"base": "tinyllama", "client": owner, "keep": 2, "keep_every": 4, "loop": "a"}
    with StepPushes(line, "rollout", **options) as steps:
        for step in range(1, 7):
            model.train()
            steps.push(model, step)
            steps.wait(step)
    with StepPushes(line, "rollout", **options) as again:  # as a loop that was started anew
        model.train()
        again.push(model, 7)
        again.wait(7)

    left = {v.labels.get("step") for v in owner.versions.list(line) if not v.is_deleted}
    assert left == {None, "4", "6", "7"}


@pytest.mark.soak
def test_a_loop_that_is_faster_than_the_registry_leaves_steps_out(owner, prover, line, open_channel):
    model = Policy()
    with StepPushes(line, "rollout", base="tinyllama", client=owner) as steps:
        began = time.monotonic()
        for step in range(1, 31):
            model.train()
            steps.push(model, step)
        made_s = time.monotonic() - began
        ref = steps.wait(30)
        scratch = steps._scratch

    assert owner.show(open_channel).ref == ref
    assert len(steps.reports) < 30
    assert made_s < sum(r.pushed_s + r.proven_s + r.moved_s for r in steps.reports)
    assert not scratch.exists()


def test_a_folder_is_pushed_as_well(owner, prover, line, open_channel, tmp_path):
    shutil.copytree(LORA, tmp_path / "saved")
    (tmp_path / "saved" / "optimizer.pt").write_bytes(b"\x80\x05")
    with StepPushes(line, "rollout", base="tinyllama", client=owner) as steps:
        steps.push(tmp_path / "saved", 1)
        ref = steps.wait(1)

    assert set(owner.show(ref).files) == {path.name for path in LORA.iterdir()}


@pytest.mark.soak
def test_a_channel_that_asks_for_more_is_told(owner, prover, line):
    model = Policy()
    with StepPushes(line, "prod", base="tinyllama", client=owner) as steps:
        steps.push(model, 1)
        with pytest.raises(GatePending, match="smoke"):
            steps.wait(1)


def test_no_worker_is_no_endless_wait(site, line, tmp_path):
    """And a model that does not know how it is saved is told at once."""
    with Client(site._config(site.token("read", "push", "promote"))) as client:
        steps = StepPushes(line, "rollout", base="tinyllama", client=client, proof_s=0.1)
        with pytest.raises(InvalidInput, match="does not say how it is saved"):
            steps.push(object(), 1)
        with pytest.raises(WaitTimeout, match="does not serve step 1 after 0 s"):
            steps.wait(1, timeout_s=0.05)
        steps.close()


@pytest.mark.soak
def test_who_may_not_delete_is_told_once(site, owner, prover, line, open_channel, caplog):
    model, token = Policy(), site.token("read", "push", "promote", principal="pusher")
    with (
        Client(site._config(token)) as client,
        StepPushes(line, "rollout", base="tinyllama", client=client, keep=1) as steps,
    ):
        for step in (1, 2, 3):
            model.train()
            steps.push(model, step)
            steps.wait(step)

    told = [text for text in caplog.messages if f"stale steps of {line} stay" in text]
    assert len(told) == 1
    assert len(list(owner.versions.list(line))) == 4
