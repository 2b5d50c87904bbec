"""Outputs recorded afterwards, by the library that wrote the delta, and at a Trainer's checkpoints.

The oracles are peft and transformers, each loading base and delta by itself.
"""

import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from deltareg.errors import InvalidInput, Misconfigured
from deltareg.suites.golden_file import GOLDEN_FILE, decode
from deltareg_verify.workbench.golden_recording import GoldenRequest, run
from tests.verify.bench import SAMPLES, convention_of, sample_base
from tests.verify.test_golden import checked

peft = pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # what libraries say of odd configs


@pytest.fixture
def recorded(tmp_path, cache_dir):
    """Record a copy of a sample; gives its folder and what was told."""

    def record(sample, **fields):
        source = SAMPLES / "deltas" / sample
        shutil.copytree(source, tmp_path / "delta")
        base = sample_base(sample.partition("/")[0])
        request = GoldenRequest(
            tmp_path / "delta", base, cache_dir, device="cpu", convention=convention_of(source), **fields
        )
        return tmp_path / "delta", run(GoldenRequest.decode(request.encode()))

    return record


@pytest.mark.parametrize(
    ("sample", "library"),
    [
        ("tinyllama/lora_dora", "peft"),
        ("tinyllama_bf16/lora", "peft"),
        ("tinyllama/full", "transformers"),
        ("tinygpt2/lora", "peft"),
    ],
)
def test_what_the_library_computed_is_found_again(recorded, cache_dir, sample, library):
    folder, told = recorded(sample)

    verdict, result = checked(folder, cache_dir, base=sample.partition("/")[0], recorded="required")

    assert (told["library"], told["samples"]) == (library, 4)
    assert (verdict, result.verdict) == ("pass", "pass"), result
    assert result.detail.startswith("recorded by the library afterwards, with")


def test_what_was_recorded_is_what_transformers_gives(recorded):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, _ = recorded("tinyllama/full", prompts=["one text"])

    (sample,) = decode((folder / GOLDEN_FILE).read_bytes()).samples
    tokens = AutoTokenizer.from_pretrained(sample_base("tinyllama"))("one text")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokens["input_ids"]])).logits[0].numpy()
    kept = sample.outputs["logits"]
    assert sample.inputs["input_ids"].tolist() == [tokens["input_ids"]]
    assert np.allclose(np.take_along_axis(logits, kept.places, axis=-1), kept.values, atol=1e-6)
    assert np.array_equal(logits.argmax(axis=-1), kept.places[:, 0])


def test_inputs_of_ones_own_are_taken(recorded, tmp_path):
    save_file({"input_ids": np.array([[3, 4, 5]])}, tmp_path / "in.safetensors")

    folder, told = recorded("tinyllama/lora_qv", inputs=tmp_path / "in.safetensors")

    (sample,) = decode((folder / GOLDEN_FILE).read_bytes()).samples
    assert told["samples"] == 1
    assert sample.inputs["input_ids"].tolist() == [[3, 4, 5]]


def test_what_no_library_reads_is_told_and_leaves_no_file(recorded, tmp_path):
    with pytest.raises(InvalidInput, match="no library reads such a delta") as refused:
        recorded("tinygpt2/bitfit")

    assert "in the process that trained it" in refused.value.fix
    assert not (tmp_path / "delta" / GOLDEN_FILE).exists()


def test_inputs_that_the_network_does_not_take_are_told(recorded, tmp_path):
    save_file({"pixels": np.array([[3.0]], np.float32)}, tmp_path / "in.safetensors")

    with pytest.raises(InvalidInput, match="does not take an input 'pixels'"):
        recorded("tinyllama/lora_qv", inputs=tmp_path / "in.safetensors")


def test_a_library_that_is_not_there_is_told(recorded, monkeypatch):
    from deltareg_verify.engine.torch_engine import libraries

    found = dict(libraries.LIBRARIES)
    found["peft"] = libraries.DeltaLibrary("a-library-that-nobody-has", found["peft"].load)
    monkeypatch.setattr("deltareg_verify.engine.torch_engine.second_opinion.LIBRARIES", found)

    with pytest.raises(Misconfigured, match="is not installed here") as refused:
        recorded("tinyllama/lora_qv")

    assert "where it was trained" in refused.value.fix


# Checkpoints of a Trainer


class _Rows(torch.utils.data.Dataset):  # type: ignore[name-defined]
    def __len__(self):
        return 4

    def __getitem__(self, number):
        ids = torch.arange(number, number + 6)
        return {"input_ids": ids, "labels": ids}


def trainer(folder, *callbacks, **options):
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, default_data_collator

    torch.manual_seed(1)
    base = sample_base("tinyllama")
    model = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        peft.LoraConfig(task_type="CAUSAL_LM", r=2, lora_dropout=0.3, target_modules=["q_proj"]),
    )
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=4,
        save_steps=2,
        per_device_train_batch_size=2,
        learning_rate=0.1,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_steps=100,
        **options,
    )
    return Trainer(
        model=model,
        args=arguments,
        train_dataset=_Rows(),
        callbacks=list(callbacks),
        processing_class=AutoTokenizer.from_pretrained(base),
        data_collator=default_data_collator,
    )


def test_each_checkpoint_of_a_trainer_has_what_it_gave_then(tmp_path, cache_dir):
    from deltareg.golden import GoldenCallback

    trainer(tmp_path, GoldenCallback(inputs=["some text"])).train()

    early, late = (tmp_path / f"checkpoint-{step}" for step in (2, 4))
    assert [checked(one, cache_dir)[0] for one in (early, late)] == ["pass", "pass"]
    shutil.copyfile(early / GOLDEN_FILE, late / GOLDEN_FILE)
    verdict, result = checked(late, cache_dir)
    assert (verdict, result.code) == ("fail", "golden_differs")


def test_recording_changes_nothing_of_a_training(tmp_path):
    from deltareg.golden import GoldenCallback

    with_it = trainer(tmp_path / "a", GoldenCallback(inputs=["some text"]))
    with_it.train()
    without = trainer(tmp_path / "b")  # which seeds everything again
    without.train()

    pairs = zip(with_it.model.parameters(), without.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_what_cannot_be_recorded_ends_no_training(tmp_path, caplog):
    from deltareg.golden import GoldenCallback

    trainer(tmp_path, GoldenCallback(inputs=[{"pixel_values": torch.ones(1)}])).train()

    assert not list(tmp_path.rglob(GOLDEN_FILE))
    assert "no golden outputs in" in caplog.text
