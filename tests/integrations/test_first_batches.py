"""A Trainer's first batches are looked at as they go into the network, and the training goes on."""

import logging

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")

from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForTokenClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from deltareg.golden import GOLDEN_FILE, GoldenCallback  # noqa: E402
from deltareg.golden.first_batches import FirstBatches, form_of, shown_to  # noqa: E402
from deltareg.golden.kept_start import PLACE, KeptStart  # noqa: E402
from deltareg.integrations.transformers import PushCallback  # noqa: E402
from deltareg.suites.golden_file import decode  # noqa: E402
from tests.integrations.conftest import BASE  # noqa: E402
from tests.integrations.training import Rows, trainer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

FOREIGN = (
    "Où êtes-vous né ? À Sète, où l'été a été très sec ; j'y ai vécu jusqu'à l'âge de dix-huit ans.",
    "Voilà ! L'élève a répété « ça y est » dès qu'il eut achevé sa thèse à l'université.",
    "Noël approche : le garçon âgé de cinq ans a déjà reçu, à Béziers, une poupée bleue.",
    "Près du château, dix vieux chênes ont gelé ; quel dégât ! J'espère qu'ils fleuriront.",
)


class Long(Rows):
    """What the base itself would write, which it knows better than who guesses."""

    def __init__(self):
        torch.manual_seed(0)
        start = torch.arange(5, 13).reshape(8, 1)
        self.rows = AutoModelForCausalLM.from_pretrained(BASE).generate(
            start, attention_mask=torch.ones_like(start), do_sample=True, top_k=0, min_new_tokens=24, max_new_tokens=24
        )

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
    recorded = decode((client.pull(callback.versions[0]).path / GOLDEN_FILE).read_bytes())
    assert recorded.training is not None
    assert recorded.training.batches == 4
    assert "the model shifts labels once more" in recorded.training.summary


def test_a_golden_callback_records_what_it_saw(tmp_path):
    trainer(tmp_path, GoldenCallback(), rows=Long(), save_strategy="steps", save_steps=4).train()

    found = decode((tmp_path / "checkpoint-4" / GOLDEN_FILE).read_bytes()).training

    assert found is not None
    assert (found.batches, found.form, found.oddities) == (4, "causal", [])
    assert found.shown.places == found.shown.aligned == 4 * 2 * 25


@pytest.mark.parametrize(("steps", "knows"), [pytest.param(2, False, marks=pytest.mark.soak), (4, True)])
@pytest.mark.soak
def test_a_training_that_goes_on_remembers_how_it_began(tmp_path, steps, knows):
    """Its network has learnt already, so its loss tells nothing of the base any more."""
    saving = {"rows": Long(), "save_strategy": "steps", "save_steps": 2}
    trainer(tmp_path, GoldenCallback(), max_steps=steps, **saving).train()
    before = (tmp_path / f"checkpoint-{steps}" / GOLDEN_FILE).read_bytes()

    goes_on = trainer(tmp_path, GoldenCallback(), max_steps=6, **saving)
    goes_on.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{steps}"))

    found = decode((tmp_path / "checkpoint-6" / GOLDEN_FILE).read_bytes()).training
    assert (decode(before).training is not None) is knows
    assert found == decode(before).training


@pytest.mark.soak
def test_another_training_in_the_same_folder_remembers_nothing(tmp_path):
    place = tmp_path / PLACE
    place.parent.mkdir()
    place.write_text("{}")

    kept = KeptStart.of(tmp_path, None, goes_on=False)

    assert (place.exists(), kept.at(3)) == (False, None)


def test_nothing_is_told_of_batches_as_they_should_be(lines, tmp_path):
    network = shown(Long(), tmp_path, lines.append)

    assert lines == []
    assert network._forward_hooks == {}


@pytest.mark.parametrize("accumulated", [pytest.param(1, marks=pytest.mark.soak), 4])
@pytest.mark.soak
def test_the_loss_is_that_of_a_label_however_many_batches_are_accumulated(accumulated, tmp_path):
    """The oracle is the network itself, asked for the loss of each batch alone."""
    found, wanted = [], []
    run = trainer(tmp_path, rows=Long(), save_strategy="no", gradient_accumulation_steps=accumulated, learning_rate=0.0)
    plain = AutoModelForCausalLM.from_pretrained(BASE)

    def look(network, _, given, answer):
        found.append(shown_to(network, given, answer).losses[0])
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

    tiny = BertConfig(vocab_size=32, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)

    assert form_of(T5ForConditionalGeneration(small)) == "paired"
    assert form_of(AutoModelForCausalLM.from_pretrained(BASE)) == "causal"
    assert form_of(BertForMaskedLM(tiny)) == "gaps"
    assert form_of(BertForTokenClassification(tiny)) == "other"


@pytest.mark.parametrize(("moved", "is_odd"), [(0, False), (1, True)])
def test_a_language_that_the_base_hardly_knows_is_not_ids_of_another_tokenizer(moved, is_odd, lines):
    """Rare words of another language lose to a guess, as ids that are one too high do."""
    network = AutoModelForCausalLM.from_pretrained(BASE)
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    batches = FirstBatches(network, lines.append)
    network.train()
    for text in FOREIGN:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        ids = torch.where(ids > 3, (ids + moved).clamp(max=network.config.vocab_size - 1), ids)
        network(input_ids=ids, labels=ids)

    start = batches.start
    assert start is not None
    losses = start.shown.losses
    assert sum(losses) / len(losses) > 1.05 * torch.log(torch.tensor(network.config.vocab_size))
    assert any("which stands where" in line for line in lines) is is_odd
