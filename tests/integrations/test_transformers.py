"""A real Trainer pushes what it trains, in every strategy, after every break.

The oracle of what was pushed is peft: it saved the files, and loads what is pulled again.
"""

import json

import numpy as np
import pytest

from deltareg.client import Client, ClientConfig
from deltareg.errors import Forbidden, InvalidInput, NotFound, Refused
from deltareg.suites.golden_file import GOLDEN_FILE, decode
from tests.fixtures.registries import SAMPLES
from tests.integrations.conftest import BASE

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
peft = pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")

from transformers import AutoModelForCausalLM, TrainerCallback  # noqa: E402

from deltareg.integrations.checkpoint_pushes import PLACE, CheckpointPushes  # noqa: E402
from deltareg.integrations.transformers import PushCallback  # noqa: E402
from tests.integrations.training import trainer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
WEIGHTS = "adapter_model.safetensors"
FILES = {"README.md", "adapter_config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json", GOLDEN_FILE}


def steps(client, line):
    """Give the versions of a line by the steps that they say."""
    found = {int(v.labels["step"]): v for v in client.versions.list(line)}
    return dict(sorted(found.items()))


def pushing(client, line, **options):
    """Give a callback that leaves none out."""
    return PushCallback(line, **{"base": "tinyllama", "always_push": True, "client": client} | options)


@pytest.mark.parametrize(
    ("strategy", "wanted"),
    [
        pytest.param("no", [4], marks=pytest.mark.soak),
        ("steps", [2, 4]),
        pytest.param("epoch", [4, 8], marks=pytest.mark.soak),
    ],
)
def test_every_strategy_pushes_what_it_saves_and_the_end(client, line, tmp_path, strategy, wanted):
    options = {"save_strategy": strategy, "save_steps": 2, "max_steps": -1, "num_train_epochs": 2}
    callback = pushing(client, line)
    run = trainer(tmp_path, callback, **options | ({"max_steps": 4} if wanted[-1] == 4 else {}))

    run.train()

    found = steps(client, line)
    assert list(found) == wanted
    assert callback.versions == [version.ref for version in found.values()]
    assert set(client.show(callback.versions[-1]).files) == FILES
    assert {v.base.name for v in found.values()} == {"tinyllama"}
    assert {v.kind for v in found.values()} == {"lora"}
    last = client.pull(callback.versions[-1], tmp_path / "pulled").path
    run.model.save_pretrained(tmp_path / "own")
    assert (last / WEIGHTS).read_bytes() == (tmp_path / "own" / WEIGHTS).read_bytes()
    assert list(tmp_path.glob(".deltareg/steps/*")) == []


@pytest.mark.soak
def test_what_a_version_says_of_the_training(client, line, tmp_path, monkeypatch):
    """Step, epoch, measures and the run; a version follows the one before it."""
    monkeypatch.setenv("CI_JOB_URL", "https://bot:secret@ci.example/jobs/7")
    options = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    callback = pushing(client, line, labels={"team": "a"}, message="try 1")

    trainer(tmp_path, callback, **options).train()

    first, second = steps(client, line).values()
    assert second.message == "try 1: step 4"
    assert (second.labels["step"], second.labels["epoch"], second.labels["team"]) == ("4", "1", "a")
    assert second.labels["run.url"] == "https://ci.example/jobs/7"
    log = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text())["log_history"]
    loss = [entry["eval_loss"] for entry in log if "eval_loss" in entry][-1]
    assert second.labels["metric.eval_loss"] == f"{loss:.6g}"
    assert not {"metric.learning_rate", "metric.eval_runtime"} & second.labels.keys()
    assert client.show(first.ref).parents == []
    assert client.show(second.ref).parents == [first.ref]


@pytest.mark.soak
def test_what_a_trainer_keeps_for_itself_is_not_pushed(client, line, tmp_path):
    trainer(tmp_path, pushing(client, line), save_strategy="steps", save_steps=4).train()

    kept = {path.name for path in (tmp_path / "checkpoint-4").iterdir()}
    assert {"optimizer.pt", "rng_state.pth", "training_args.bin", "scheduler.pt"} <= kept
    assert set(client.show(line).files) == FILES


@pytest.mark.soak
def test_outputs_of_the_training_are_what_the_pushed_delta_gives(client, line, tmp_path):
    callback = pushing(client, line, golden=["the brown dog jumps over"])
    trainer(tmp_path / "run", callback, save_strategy="steps", save_steps=2).train()

    for number, ref in enumerate(callback.versions):
        folder = client.pull(ref, tmp_path / str(number)).path
        (sample,) = decode((folder / GOLDEN_FILE).read_bytes()).samples
        network = AutoModelForCausalLM.from_pretrained(BASE)
        model = peft.PeftModel.from_pretrained(network, folder).eval()
        with torch.no_grad():
            ids = torch.as_tensor(np.asarray(sample.inputs["input_ids"]))
            logits = model(input_ids=ids).logits.numpy()
        assert np.allclose(sample.outputs["logits"].values[:, 0], logits.max(-1)[0], atol=1e-5)


@pytest.mark.soak
def test_the_best_checkpoint_is_what_came_of_it(client, line, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "loss"}
    worse = {"greater_is_better": True}  # so that the first is the best
    callback = pushing(client, line, strategy="end")

    run = trainer(tmp_path, callback, **options | best | worse)
    run.train()

    (ref,) = callback.versions
    step = int(run.state.best_model_checkpoint.rpartition("-")[2])
    assert step < 4
    assert client.show(ref).labels["step"] == str(step)
    pulled = client.pull(ref, tmp_path / "pulled").path
    saved = tmp_path / f"checkpoint-{step}" / WEIGHTS
    assert (pulled / WEIGHTS).read_bytes() == saved.read_bytes()


@pytest.mark.soak
def test_a_training_that_goes_on_makes_the_versions_that_it_would_have_made(client, line, tmp_path):
    # The first four batches are over with the second step, where it is broken off.
    options = {"save_strategy": "steps", "save_steps": 1, "gradient_accumulation_steps": 2}
    options |= {"max_steps": 4}
    other = f"{line}-w"
    trainer(tmp_path / "whole", pushing(client, other), **options).train()
    stopped = pushing(client, line)
    run = trainer(tmp_path / "run", stopped, stop(2), **options)
    run.train()

    goes_on = pushing(client, line)
    trainer(tmp_path / "run", goes_on, **options).train(resume_from_checkpoint=True)

    assert len(stopped.versions) == 2
    assert len(goes_on.versions) == 2
    digests = [[v.digest for v in steps(client, name).values()] for name in (line, other)]
    chain = [client.show(f"{line}:v{n}").parents for n in (1, 2, 3, 4)]
    assert chain == [[], [f"{line}:v1"], [f"{line}:v2"], [f"{line}:v3"]]
    assert digests[0] == digests[1]


@pytest.mark.soak
def test_what_a_killed_run_never_heard_of_is_followed_all_the_same(client, line, tmp_path, monkeypatch):
    """It was killed before the answer came, when the training was a step further."""
    options = {"save_strategy": "steps", "save_steps": 1, "max_steps": 3}
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointPushes, "_remove", lambda *_: None)
        trainer(tmp_path, pushing(client, line), stop(2), **options).train()
    notes = tmp_path / PLACE / "run.json"
    left = {"step": 1, "labels": dict(client.show(f"{line}:v1").labels)}
    notes.write_text(json.dumps(json.loads(notes.read_text()) | {"pushed": [], "pushing": left}))

    goes_on = pushing(client, line)
    trainer(tmp_path, goes_on, **options).train(resume_from_checkpoint=True)

    assert goes_on.versions == [f"{line}:v1", f"{line}:v2", f"{line}:v3"]
    chain = [client.show(f"{line}:v{n}").parents for n in (1, 2, 3)]
    assert chain == [[], [f"{line}:v1"], [f"{line}:v2"]]
    assert list((tmp_path / PLACE).glob("steps/*")) == []


@pytest.mark.soak
def test_a_checkpoint_that_a_broken_run_did_not_push_is_pushed_by_the_next(client, line, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 1}
    trainer(tmp_path, stop(2), **options).train()

    trainer(tmp_path, pushing(client, line), **options).train(resume_from_checkpoint=True)

    assert list(steps(client, line)) == [2, 3, 4]


@pytest.mark.soak
def test_a_run_begins_from_what_production_serves(site, client, line, tmp_path):
    callback = pushing(client, line)
    trainer(tmp_path / "a", callback).train()
    (ref,) = callback.versions
    site.verified(ref)
    with site.client() as promoter:
        promoter.promote(ref, "prod")

    second, third = pushing(client, line), pushing(client, line, parent=None, strategy="end")
    trainer(tmp_path / "b", second, max_steps=2).train()
    trainer(tmp_path / "c", third, max_steps=3).train()

    assert client.show(second.versions[0]).parents == [ref]
    assert client.show(third.versions[0]).parents == []


@pytest.mark.soak
def test_what_comes_too_fast_gives_way_to_what_is_newer(client, line, tmp_path):
    callback = PushCallback(line, base="tinyllama", client=client, golden=False)

    trainer(tmp_path, callback, save_strategy="steps", save_steps=1, max_steps=12).train()

    found = list(steps(client, line))
    assert found[-1] == 12
    assert found == sorted(found)
    assert list(tmp_path.glob(".deltareg/steps/*")) == []


@pytest.mark.soak
def test_checkpoints_that_the_trainer_deletes_are_pushed_all_the_same(client, line, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 1}

    trainer(tmp_path, pushing(client, line), **options).train()

    assert list(steps(client, line)) == [1, 2, 3, 4]
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]


@pytest.mark.parametrize(
    ("scopes", "base", "error", "told"),
    [
        (["read"], "tinyllama", Forbidden, "for read, not for push"),
        pytest.param(["read", "push"], "nobodys", NotFound, "nobodys", marks=pytest.mark.soak),
    ],
)
def test_what_will_fail_in_any_case_ends_a_training_before_its_first_step(
    site, line, tmp_path, scopes, base, error, told
):
    token = site.token(*scopes, principal="reader")
    with Client(site._config(token)) as client:
        run = trainer(tmp_path, PushCallback(line, base=base, client=client), max_steps=1)
        with pytest.raises(error, match=told) as stopped:
            run.train()

    assert run.state.global_step == 0
    assert f"nothing of it could be pushed to {line}" in stopped.value.__notes__[-1]


@pytest.mark.soak
def test_a_training_that_goes_on_is_warned_alone(site, client, line, tmp_path, caplog):
    options = {"save_strategy": "steps", "save_steps": 1, "max_steps": 2}
    trainer(tmp_path, pushing(client, line, golden=False), stop(1), **options).train()

    with Client(site._config(site.token("read", principal="reader"))) as reader:
        run = trainer(tmp_path, pushing(reader, line, golden=False), **options)
        run.train(resume_from_checkpoint=True)

    assert run.state.global_step == 2
    assert f"{line}: nothing can be pushed as it is now: " in caplog.text


@pytest.mark.soak
def test_an_adapter_that_its_base_does_not_fit_is_noticed_before_it_is_trained(site, client, line, tmp_path):
    with site.client() as admin:
        admin.bases.push(SAMPLES / "bases" / "tinygpt2", "tinygpt2")
    run = trainer(tmp_path, PushCallback(line, base="tinygpt2", client=client), max_steps=1)
    run.model.peft_config["default"].base_model_name_or_path = "tinygpt2"

    with pytest.raises(Refused) as stopped:
        run.train()

    assert {problem.code for problem in stopped.value.problems} & {"no_tensor_applied", "unexpected_tensors"}
    assert run.state.global_step == 0
    assert line not in {each.ref for each in client.lines.list("team")}


@pytest.mark.soak
def test_a_base_that_nobody_names_is_noticed_before_the_first_step(client, line, tmp_path):
    run = trainer(tmp_path, PushCallback(line, client=client), max_steps=1)
    run.model.peft_config["default"].base_model_name_or_path = "org/unknown"
    run.model.get_base_model().config._name_or_path = run.model.get_base_model().name_or_path = "org/unknown"

    with pytest.raises(InvalidInput, match="no base is named"):
        run.train()

    assert run.state.global_step == 0


def test_a_line_that_is_none_is_told_before_anything_is_loaded():
    with pytest.raises(InvalidInput, match="MyLoRA"):
        PushCallback("team/MyLoRA", base="tinyllama")


@pytest.mark.soak
def test_the_end_says_what_was_pushed_and_what_is_next(client, line, tmp_path, capfd):
    trainer(tmp_path, pushing(client, line, golden=False), save_strategy="steps", save_steps=2).train()

    told = [text for text in capfd.readouterr().err.splitlines() if text.startswith("pushed ")]
    ref = f"{line}:v2"
    assert told == [f"pushed {ref}, the last of 2 versions; its verdict: deltareg verify {ref} --wait"]


@pytest.mark.soak
def test_a_server_that_is_away_ends_no_training(line, tmp_path, caplog, free_port):
    config = ClientConfig(f"http://127.0.0.1:{free_port}", retries=0, patience_s=0)
    with Client(config) as client:
        run = trainer(tmp_path, PushCallback(line, base="tinyllama", client=client), max_steps=2)
        run.train()

    kept = tmp_path / ".deltareg" / "kept" / "step-2"
    assert run.state.global_step == 2
    assert f"step 2 was not pushed; its files stay in {kept}" in caplog.text
    assert (kept / WEIGHTS).is_file()


@pytest.mark.soak
def test_what_could_not_be_pushed_outlives_the_next_run(line, tmp_path, free_port):
    config = ClientConfig(f"http://127.0.0.1:{free_port}", retries=0, patience_s=0)
    with Client(config) as client:
        for steps_done in (2, 3):
            callback = PushCallback(line, base="tinyllama", client=client, golden=False)
            trainer(tmp_path, callback, max_steps=steps_done, save_strategy="no").train()

    assert {path.name for path in tmp_path.glob(".deltareg/kept/*")} == {"step-2", "step-3"}


@pytest.mark.soak
def test_a_model_that_fails_when_it_is_asked_is_pushed_without_outputs(client, line, tmp_path, caplog):
    callback = pushing(client, line, golden={"input_ids": torch.tensor([[10**6]])})

    trainer(tmp_path, callback, max_steps=1).train()

    assert GOLDEN_FILE not in client.show(line).files
    assert "no golden outputs in step-1" in caplog.text


@pytest.mark.soak
def test_settings_that_are_wrong_are_told_before_the_first_step(line, tmp_path, monkeypatch):
    monkeypatch.setenv("DELTAREG_SERVER", "no address")

    run = trainer(tmp_path, PushCallback(line, base="tinyllama"), max_steps=1)
    with pytest.raises(InvalidInput):
        run.train()

    assert run.state.global_step == 0


@pytest.mark.soak
def test_a_push_that_is_refused_says_why(client, line, tmp_path, caplog):
    callback = PushCallback(line, base="tinyllama", client=client, golden=False)
    run = trainer(tmp_path, callback, max_steps=1)
    torch.nn.init.constant_(next(p for p in run.model.parameters() if p.requires_grad), torch.nan)

    run.train()

    assert callback.versions == []
    assert "step 1 was not pushed" in caplog.text
    assert "NaN" in caplog.text or "finite" in caplog.text


def test_a_strategy_that_is_none_is_told_at_once():
    with pytest.raises(InvalidInput, match="sometimes") as told:
        PushCallback("team/chat", strategy="sometimes")  # type: ignore[arg-type]  # on purpose

    assert told.value.fix == "every_save or end"


def stop(after):
    """End a training after a step, as a limit of time does."""
    return Stop(after)


class Stop(TrainerCallback):
    def __init__(self, after):
        self._after = after

    def on_step_end(self, args, state, control, **_):
        control.should_training_stop = state.global_step >= self._after
