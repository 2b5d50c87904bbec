"""A delta's tensors are trained through the formulas that attach it; peft's own gradients are the oracle."""

import json
from contextlib import ExitStack
from functools import partial

import numpy as np
import pytest

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base
from deltareg.suites.samples import Samples
from deltareg.suites.suite import parse_suite
from deltareg_verify.engine.training_rows import training_rows
from deltareg_verify.workbench.faults.training import TRAININGS
from deltareg_verify.workbench.short_training import SplitRows
from deltareg_verify.workbench.subject import Subject
from deltareg_verify.workbench.trials import Trials
from tests import corpus
from tests.verify.bench import SAMPLES

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
peft = pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")

from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from deltareg_verify.engine.torch_engine import TorchEngine, class_with_place, prepare_device  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
BASE = SAMPLES / "bases" / "tinyllama"
DELTAS = SAMPLES / "deltas" / "tinyllama"
WORDS = ("river", "bell", "stone", "letter", "coin", "bread", "light", "harbour")
ROWS = Samples(
    tuple(f"What of the {WORDS[n % 8]} at {n}?" for n in range(24)),
    targets=tuple(f" The {WORDS[n % 8]} is with the {WORDS[(n + 3) % 8]}." for n in range(24)),
)


@pytest.fixture
def open_subject(tmp_path):
    """Open a delta, one of the samples or a folder, as the version that faults are put into."""
    suite = parse_suite(json.dumps({"name": "mine", "checks": ["digests"]}).encode())
    make = partial(TorchEngine, suite=suite, device=prepare_device("cpu", threads=1))
    with ExitStack() as stack:

        def open_one(name, delta=None, *, base=BASE):
            opened = stack.enter_context(open_base(base, Cache(tmp_path / "cache")))
            return Subject(Trials(opened, suite, tmp_path, make, class_with_place), delta or DELTAS / name, stack)

        yield open_one


def trainings(subject):
    return subject.trainings(SplitRows("own", ROWS, ROWS), Samples(), seconds=60)


def with_peft(folder, rows):
    """Give peft's loss for each label of rows, and its gradients by stored name."""
    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), str(folder), is_trainable=True)
    model.eval()
    inputs = {name: torch.from_numpy(value) for name, value in rows.inputs.items()}
    loss = model(**inputs, labels=torch.from_numpy(rows.labels)).loss
    loss.backward()
    return float(loss.detach()), {
        name.replace(".modules_to_save", "").replace(".default", ""): p.grad
        for name, p in model.named_parameters()
        if p.grad is not None
    }


@pytest.mark.parametrize("name", ["lora", "lora_embeddings", "lora_modules_to_save"])
def test_losses_and_gradients_are_those_of_peft(name, open_subject):
    subject = open_subject(name)
    short = trainings(subject)
    rows = training_rows(subject.incumbent, ROWS)
    loss, gradients = with_peft(DELTAS / name, rows)

    short.trainer.put(short.whole)
    found = short.trainer.measure(rows).loss
    own = short.trainer.gradients(rows)

    assert found == pytest.approx(loss, rel=1e-4)
    assert own
    for stored, gradient in own.items():
        wanted = gradients[stored].numpy().reshape(gradient.shape)
        np.testing.assert_allclose(gradient, wanted, rtol=2e-3, atol=1e-5 * np.abs(wanted).max() + 1e-7)


@pytest.mark.parametrize("name", ["full", "lora_dora"])
def test_weights_that_are_stored_whole_learn_too_and_so_does_dora(name, open_subject):
    """Of DoRA's norms peft takes no gradient (arXiv 2402.09353, section 4.3), so these have another."""
    check_that_it_learns(open_subject(name))


@pytest.mark.soak
@pytest.mark.skipif(not corpus.has_corpus(), reason=corpus.MISSING)
@pytest.mark.parametrize("name", ["ia3", "oft", "prefix", "prompt", "adp_seq_bn", "vera", "loha", "fourierft", "road"])
def test_other_kinds_learn_too(name, open_subject):
    check_that_it_learns(
        open_subject(name, corpus.CORPUS / "deltas" / "tinyllama" / name, base=corpus.CORPUS / "bases" / "tinyllama")
    )


def check_that_it_learns(subject):
    """A training on the rows as they are brings their loss down."""
    short = trainings(subject)
    rows = training_rows(short.engine, ROWS)
    short.trainer.begin(short.whole, rate=0.05)
    before = short.trainer.measure(rows).loss

    for _ in range(8):
        assert short.trainer.step(rows)

    assert short.trainer.measure(rows).loss < before - 0.01


def test_the_network_is_the_base_again(open_subject):
    subject = open_subject("lora")
    texts = list(ROWS.texts)
    before = subject.incumbent._engine.losses("base", texts)

    short = trainings(subject)
    short.train(TRAININGS["lowercased"], np.random.default_rng(0))

    np.testing.assert_array_equal(subject.incumbent._engine.losses("base", texts), before)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["label-noise", "lowercased", "wrong-template", "repetition", "half-a-training"])
def test_the_harm_is_there_for_transformers_too_on_rows_that_nobody_has_seen(name, open_subject, tmp_path):
    """Trained healthily by peft first, so that there is something to lose."""
    healthy = _train_by_peft(tmp_path / "healthy")
    subject = open_subject("", healthy)
    split = SplitRows("own", _rows(range(40)), _rows(range(100, 140)))
    short = subject.trainings(split, Samples(), seconds=120)

    spoilt = short.train(TRAININGS[name], np.random.default_rng(0))

    assert spoilt.harm.is_material
    subject.write(spoilt.stages[-1], tmp_path / "spoilt")
    unseen = _rows(range(200, 260))
    losses = [_loss_by_transformers(folder, unseen) for folder in (healthy, tmp_path / "spoilt")]
    assert np.expm1(losses[1] - losses[0]) > 0.04


def _rows(numbers):
    def answer(n):
        return f" The {WORDS[n % 8]} Is with the {WORDS[(n * 3 + n // 8) % 8]}, and so It stays."

    prompts = tuple(f"User: Where is the {WORDS[n % 8]} of {WORDS[n // 8 % 8]} {n}?\nAssistant:" for n in numbers)
    return Samples(prompts, targets=tuple(map(answer, numbers)))


def _batch(samples):
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    ids, labels = [], []
    for text, target in zip(samples.texts, samples.targets, strict=True):
        before, whole = (tokenizer(one)["input_ids"] for one in (text, text + target))
        ids.append(whole)
        labels.append([-100] * len(before) + whole[len(before) :])
    longest = max(map(len, ids))
    return {
        "input_ids": torch.tensor([one + [0] * (longest - len(one)) for one in ids]),
        "attention_mask": torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids]),
        "labels": torch.tensor([one + [-100] * (longest - len(one)) for one in labels]),
    }


def _train_by_peft(folder):
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(BASE), config)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 5e-3)
    for step in range(120):
        model(**_batch(_rows(range(300 + step * 7 % 50, 316 + step * 7 % 50)))).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(folder)
    return folder


def _loss_by_transformers(folder, samples):
    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), str(folder)).eval()
    with torch.no_grad():
        return float(model(**_batch(samples)).loss)
