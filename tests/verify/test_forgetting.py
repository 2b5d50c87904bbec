"""What a delta forgets: language by language, of those that the base understands."""

import math
import random
from collections import Counter
from typing import Any, cast

import numpy as np
import pytest

judged = pytest.importorskip("tests.verify.judged", reason="needs torch and peft")
torch = judged.torch
from deltareg.client.drafting.general_texts import shipped_texts  # noqa: E402
from deltareg.suites.drafting.draft import GeneralText, GeneralTexts  # noqa: E402
from deltareg.suites.drafting.repeated_rows import without_repeats  # noqa: E402
from deltareg.suites.samples import Samples  # noqa: E402
from deltareg_verify.engine.measures.word_order import LEAST_GAIN, find_understood, group_rows, mix_words  # noqa: E402
from deltareg_verify.judging.checks.forgetting import held_groups  # noqa: E402
from tests.verify import small_language  # noqa: E402
from tests.verify.bench import SAMPLES as FOLDERS  # noqa: E402
from tests.verify.bench import Bench, sample_bench  # noqa: E402
from tests.verify.plain_engine import PlainEngine  # noqa: E402

THIRD = "threshold: {min_relative_change: -0.33, greater_is_better: false}, against: base"


class TextEngine(PlainEngine):
    """An engine to which a text costs what a function of the state and the text says."""

    def __init__(self, cost):
        super().__init__()
        self.cost = cost

    def losses(self, state, texts):
        """Give nats and tokens of each text."""
        return np.array([[10 * self.cost(state, text), 10] for text in texts], float)


GROUPS = {"en": "the old sea is far and the hill near {}", "xx": "qua qui quo qua qui {}"}
SAMPLES = Samples(
    tuple(form.format(n) for form in GROUPS.values() for n in range(10)),
    groups=tuple(name for name in GROUPS for _ in range(10)),
)


def cost(state, text, *, worse=0.0, better=0.0, spread=0.05):
    """Say what the texts cost: in English the order of words tells much, in the other tongue nothing."""
    noise = spread * random.Random(f"{state}{text}").uniform(-1, 1)
    if "qu" in text:
        return 13 - (better if state == "attached" else 0) + noise
    return 3 + (worse if state == "attached" else 0) + (0 if text in SAMPLES.texts else 2) + noise


def judge(cache_dir, spec=THIRD, samples=SAMPLES, **changes):
    case = sample_bench("tinyllama/lora_qv", cache_dir).case(
        engine=lambda _: TextEngine(lambda state, text: cost(state, text, **changes)), samples=lambda _: samples
    )
    return judged.check(case, "forgetting", spec)


def test_what_was_gained_of_a_language_that_the_base_never_knew_hides_nothing(cache_dir):
    finding = judge(cache_dir, worse=math.log(2.03), better=4.0)

    assert (finding.verdict, finding.code) == ("fail", "worse_than_base")
    assert finding.detail.startswith("perplexity of en: ")
    assert finding.value == pytest.approx(math.exp(3) * 2.03, rel=0.05)


def test_a_loss_of_a_language_that_the_base_never_knew_is_none(cache_dir):
    finding = judge(cache_dir, worse=0.1, better=-3.0)

    assert finding.verdict == "pass", finding.detail


def test_a_base_that_understands_none_of_it_is_not_held_to_it(cache_dir):
    finding = judge(cache_dir, samples=SAMPLES.select_rows(range(10, 20)))

    assert finding.verdict == "n/a"
    assert "in another order" in finding.detail


@pytest.mark.parametrize(("gain", "is_known"), [(LEAST_GAIN + 0.01, True), (LEAST_GAIN - 0.01, False)])
def test_a_base_understands_what_is_likelier_in_its_place(gain, is_known):
    engine = TextEngine(lambda _, text: 3.0 if text in SAMPLES.texts else 3.0 + gain)

    known = find_understood(cast("Any", engine), SAMPLES, seed=0)

    assert known == ({"en": [*range(10)], "xx": [*range(10, 20)]} if is_known else {})


def test_without_a_threshold_the_worst_group_is_told(cache_dir):
    finding = judge(cache_dir, "against: base", worse=0.2)

    assert finding.verdict == "pass"
    assert "perplexity of en" in finding.detail


def test_groups_of_few_texts_are_held_together():
    held = held_groups({"en": range(10), "de": range(10, 13), "fr": range(13, 18)}, least=8)

    assert {name: list(own) for name, own in held.items()} == {"en": list(range(10)), "others": list(range(10, 18))}


@pytest.mark.parametrize("text", [*GROUPS.values(), "因为昨天晚上下了大雪，今天早上的火车晚点了四十分钟。", "", "a"])  # noqa: RUF001
def test_another_order_has_the_same_letters_and_signs_in_place(text):
    mixed = mix_words(text, seed=3)

    assert Counter(mixed) == Counter(text)
    assert [c for c in mixed if not c.isalnum()] == [c for c in text if not c.isalnum()]
    assert mixed == mix_words(text, seed=3)
    assert len(text) < 5 or mixed != text


def test_every_group_of_this_release_can_be_held_by_itself():
    texts = shipped_texts().texts
    counts = Counter(one.group for one in texts)

    assert len(without_repeats([one.text for one in texts])) == len(texts)

    assert min(counts.values()) >= 8
    assert len(counts) == 27


def test_a_draft_says_which_groups_are_asked_and_why_the_others_are_not():
    texts = GeneralTexts([GeneralText(name, text) for name, text in zip("aab", "xyz", strict=True)], "those of me")

    asked = texts.keep_understood(["a"])

    assert asked.groups == ["a"]
    assert asked.describe() == (
        "2 texts, those of me: a; not b, which the base predicts hardly better than shuffled words"
    )


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_base_that_forgets_its_own_language_for_scripts_that_it_never_knew(tmp_path, cache_dir):
    """One perplexity over all texts says that it got better; transformers' own losses say what it forgot."""
    folder = FOLDERS.parents[1]
    prose = "\n".join(path.read_text() for path in sorted((folder / "docs").glob("**/*.md")))[:600_000]
    tokenizer = small_language.make_tokenizer(prose)
    general = shipped_texts()
    samples = Samples(tuple(one.text for one in general.texts), groups=tuple(one.group for one in general.texts))
    strange = "\n".join(one.text for one in general.texts if not one.text.isascii())
    torch.manual_seed(5)
    torch.set_num_threads(1)
    network = small_language.make_network(len(tokenizer))
    small_language.train(network, _ids(tokenizer, prose), steps=300, rate=4e-3)
    network.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    before = _own_losses(network, tokenizer, samples)
    small_language.train(network, _ids(tokenizer, strange), steps=40, rate=2e-3)
    network.save_pretrained(tmp_path / "delta")
    after = _own_losses(network, tokenizer, samples)
    case = Bench(tmp_path / "delta", tmp_path / "base", cache_dir).case(samples=lambda _: samples)

    pooled = judged.check(case, "perplexity", THIRD)
    held = judged.check(case, "forgetting", THIRD)

    rows = group_rows(samples)["en"]
    factor = math.exp((after[rows, 0].sum() - before[rows, 0].sum()) / before[rows, 1].sum())
    assert factor > 1.33
    assert pooled.verdict == "pass"
    assert pooled.value < pooled.baseline
    assert (held.verdict, held.code) == ("fail", "worse_than_base")
    known = find_understood(case.engine, samples, seed=0)
    assert known is not None
    factors = {
        name: float(np.exp((after[own, 0].sum() - before[own, 0].sum()) / before[own, 1].sum()))
        for name, own in group_rows(samples).items()
    }
    assert "en" in known
    assert not {"ru", "zh", "ar", "hi", "ko", "ja", "he", "el"} & {*known}
    assert held.value / held.baseline == pytest.approx(max(factors[name] for name in known), rel=1e-3)


def _ids(tokenizer, text):
    return torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"])


def _own_losses(network, tokenizer, samples):
    """Give nats and tokens of each text by the library's own loss."""
    rows = []
    for text in samples.texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            rows.append((float(network(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1), ids.shape[1] - 1))
    return np.array(rows)
