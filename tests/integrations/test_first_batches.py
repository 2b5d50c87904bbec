"""A Trainer's first batches are looked at as they go into the network, and the training goes on."""

import logging

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")

from transformers import AutoModelForCausalLM, T5Config, T5ForConditionalGeneration  # noqa: E402

from deltareg.integrations.first_batches import FirstBatches, form_of, seen_in  # noqa: E402
from deltareg.integrations.transformers import PushCallback  # noqa: E402
from tests.integrations.conftest import BASE  # noqa: E402
from tests.integrations.training import Rows, trainer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


class Long(Rows):
    """What the base itself would write, which it knows better than who guesses."""

    def __init__(self):
        torch.manual_seed(0)
        start = torch.arange(5, 13).reshape(8, 1)
        self.rows = AutoModelForCausalLM.from_pretrained(BASE).generate(
            start, attention_mask=torch.ones_like(start), do_sample=True, top_k=0,
            min_new_tokens=24, max_new_tokens=24,
        )  # fmt: skip

    def __getitem__(self, at):
        return {"input_ids": self.rows[at], "labels": self.labels(self.rows[at])}

    def labels(self, row):
        return row


class Shifted(Long):
    """The data code shifts labels, and the model does."""

    def labels(self, row):
        return torch.cat([row[1:], torch.tensor([-100])])


@pytest.fixture
def lines():
    """What is told."""
    return []


def shown(rows, tmp_path, tell, **options):
    """Train on rows; gives the network that was watched."""
    run = trainer(tmp_path, rows=rows, save_strategy="no", **options)
    batches = FirstBatches(run.model, tell)
    run.train()
    batches.stop()
    return run.model


def test_a_callback_logs_what_is_odd(client, line, tmp_path, caplog):
    callback = PushCallback(line, base="tinyllama", strategy="end", client=client)

    with caplog.at_level(logging.WARNING, "deltareg"):
        trainer(tmp_path, callback, rows=Shifted(), save_strategy="no").train()

    told = [record.message for record in caplog.records if "first batches" in record.message]
    assert "the model shifts labels once more" in told[0]
    assert len(callback.versions) == 1


def test_nothing_is_told_of_batches_as_they_should_be(lines, tmp_path):
    network = shown(Long(), tmp_path, lines.append)

    assert lines == []
    assert network._forward_hooks == {}


@pytest.mark.parametrize("accumulated", [1, 4])
def test_the_loss_is_that_of_a_label_however_many_batches_are_accumulated(accumulated, tmp_path):
    """The oracle is the network itself, asked for the loss of each batch alone."""
    found, wanted = [], []
    run = trainer(
        tmp_path, rows=Long(), save_strategy="no", gradient_accumulation_steps=accumulated,
        learning_rate=0.0,
    )  # fmt: skip
    plain = AutoModelForCausalLM.from_pretrained(BASE)

    def look(network, _, given, answer):
        found.append(seen_in(network, given, answer).losses[0])
        wanted.append(float(plain(input_ids=given["input_ids"], labels=given["labels"]).loss))

    run.model.register_forward_hook(look, with_kwargs=True)
    run.train()

    # A Trainer counts the first label of each row, which has nothing before it, among the others.
    assert found == pytest.approx(wanted, rel=0.06)


def test_a_training_that_is_shorter_is_told_of_at_its_end(lines, tmp_path):
    shown(Shifted(), tmp_path, lines.append, max_steps=3)

    assert "shifts labels" in lines[0]


def test_what_cannot_be_looked_at_ends_no_training(lines):
    network = torch.nn.Linear(2, 2)
    batches = FirstBatches(network, lines.append)

    for _ in range(6):
        network(torch.ones(1, 2))
    batches.stop()

    assert lines == []
    assert network._forward_hooks == {}


def test_an_evaluation_before_the_first_step_is_not_what_is_learnt(lines):
    network = AutoModelForCausalLM.from_pretrained(BASE).eval()
    batches = FirstBatches(network, lines.append)
    rows = Shifted()
    given = {name: torch.stack([rows[at][name] for at in range(8)]) for name in rows[0]}

    network(**given)
    assert lines == []
    network.train()
    network(**given)
    batches.stop()

    assert "shifts labels" in lines[0]


def test_forms_are_told_apart():
    small = T5Config(vocab_size=32, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)

    assert form_of(T5ForConditionalGeneration(small)) == "paired"
    assert form_of(AutoModelForCausalLM.from_pretrained(BASE)) == "causal"
