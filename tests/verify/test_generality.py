"""What a comparison says of general text is what a verification measures of both versions."""

import shutil

import numpy as np
import pytest

judged = pytest.importorskip("tests.verify.judged", reason="needs torch and peft")
from deltareg.statistics.intervals import mean_interval  # noqa: E402
from deltareg.suites.base_probes import BaseProbes  # noqa: E402
from deltareg_verify.child.generality import _Found, _perplexity  # noqa: E402
from deltareg_verify.engine.torch_engine import text_losses  # noqa: E402
from tests.fixtures.registries import SAMPLES  # noqa: E402
from tests.verify.bench import Bench  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
BASE, DELTAS = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama"
ALL, KNOWN = "perplexity on general text", "perplexity on what the base knows best"


@pytest.fixture
def compared(local_registry, find):
    """Push a base and two versions, have a worker compare them, and give what it says."""

    def compare(base, first, second):
        client = local_registry.client()
        client.bases.push(base, "it")
        for folder in (first, second):
            client.push(folder, "team/it", base="it")
        run = find(client.runs.compare("team/it:v1", "team/it:v2"))
        assert run.state == "done", run.error
        return client.runs.comparison("team/it:v1", "team/it:v2")

    return compare


def test_perplexities_are_those_of_a_verification(compared, find, cache_dir, user):
    found = compared(BASE, DELTAS / "lora", DELTAS / "full").general

    told = {one.name: one for one in found.figures}
    probes = BaseProbes.decode(find.client.base_probes("it").document.encode())
    cases = [Bench(DELTAS / name, BASE, cache_dir).case(probes=lambda: probes) for name in ("lora", "full")]
    base, *sides = cases[0].figures("base"), *(case.figures("attached") for case in cases)
    for name, classes in ((ALL, tuple(base.losses)), (KNOWN, base.known)):
        one = told[name]
        values = [one.base.value, one.a.value, one.b.value]
        wanted = [figures.perplexity(classes) for figures in (base, *sides)]
        assert values == pytest.approx(wanted, rel=1e-4)
        assert one.change.value == pytest.approx(one.b.value / one.a.value, rel=1e-3)
        assert one.change.low < one.change.value < one.change.high
        assert one.base.low < one.base.value < one.base.high
    assert told[ALL].n == len(probes.texts)
    assert found.note == ""
    shown = user("diff", "team/it:v1", "team/it:v2", "--on", "worker")
    written = user("diff", "team/it:v1", "team/it:v2", "--on", "worker", "--format", "md")
    assert "On general text" in shown.out
    assert f"| {ALL} | {told[ALL].base.value:.4g} [" in written.out


def test_losses_by_text_add_up_to_those_by_class(cache_dir):
    case = Bench(DELTAS / "lora", BASE, cache_dir).case()
    figures = case.figures("attached")

    rows = case.engine.run_judge("attached", case.probes, text_losses)

    assert len(rows) == len(case.probes.texts)
    for name, loss in figures.losses.items():
        own = [one for kind, one in rows if kind == name]
        assert sum(one.tokens for one in own) == loss.tokens
        assert sum(one.total for one in own) == pytest.approx(loss.total)


def test_two_that_do_the_same_are_the_same_on_every_text(compared, tmp_path):
    twin = shutil.copytree(DELTAS / "lora", tmp_path / "twin")
    (twin / "README.md").write_text("# the same, told in other words\n")

    found = compared(BASE, DELTAS / "lora", twin).general

    assert {(one.change.low, one.change.value, one.change.high) for one in found.figures} == {(1.0, 1.0, 1.0)}


def test_what_is_broken_shows_in_its_interval(compared):
    found = compared(BASE, DELTAS / "lora", SAMPLES / "bad" / "exploding").general

    one = next(one for one in found.figures if one.name == ALL)
    assert one.change.low > 1


def test_what_is_no_number_is_told_as_none():
    rows = np.array([[30.0, 10], [20.0, 10], [25.0, 10]])
    broken = rows.copy()
    broken[1, 0] = np.nan

    told = _perplexity(ALL, rows, rows, broken)

    assert told.change is not None
    assert (told.b.value, told.b.low, told.change.value) == (None, None, None)
    assert told.a.value == pytest.approx(np.exp(2.5), rel=1e-4)


def test_a_classifier_has_its_entropy_and_heads_that_the_base_lacks_are_told(compared, tmp_path):
    def network():
        return judged.transformers.BertForSequenceClassification(judged.bert(num_labels=3))

    made = [
        judged.make(
            tmp_path / str(seed), network, ["query", "value"], words=judged.tokenizer(), seed=0 if seed == 1 else 5
        )
        for seed in (1, 2)
    ]

    found = compared(made[0].base, made[0].delta, made[1].delta).general

    assert "entropy of the classes named, in nats" in {one.name for one in found.figures}
    assert all(one.change is None for one in found.figures)


def test_versions_that_bring_heads_are_compared_and_say_why_nothing_is_general(compared, tmp_path):
    one = judged.encoder(tmp_path / "one", labels=3)
    two = judged.encoder(tmp_path / "two", labels=3)

    found = compared(one.base, one.delta, two.delta).general

    assert (found.figures, "bring heads that the base has not" in found.note) == ([], True)


def test_an_interval_is_over_texts_and_not_over_tokens(cache_dir):
    case = Bench(DELTAS / "lora", BASE, cache_dir).case()

    found = _Found(case.figures("base"), case.engine.run_judge("base", case.probes, text_losses))
    rows = found.rows(tuple(found.figures.losses))

    told = _perplexity(ALL, rows, rows, rows)

    ends = mean_interval(rows[:, 0], rows[:, 1])
    assert told.base.low == pytest.approx(2.718281828459045**ends.low, rel=1e-4)
    assert told.n == len(rows)
