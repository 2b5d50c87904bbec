"""What a network writes, keeps to itself, and leaves as it was, beside the libraries."""

import json
import math

import numpy as np
import pytest

judged = pytest.importorskip("tests.verify.judged", reason="needs torch and peft")
torch = judged.torch
from transformers import GenerationConfig  # noqa: E402

from deltareg.errors import InvalidInput  # noqa: E402
from deltareg.suites.samples import RankingCandidates, Samples  # noqa: E402
from deltareg_verify.engine.continuing import GeneratedText, written_each  # noqa: E402
from deltareg_verify.engine.measures.writing import MEASURES, distance  # noqa: E402
from deltareg_verify.engine.torch_engine.writing import write  # noqa: E402
from deltareg_verify.judging.checks.exposure import exposure  # noqa: E402
from tests.verify.bench import Bench  # noqa: E402

FEW = "parameters: {least_samples: 1"
PROMPTS = ("one red cat", "two blue dog runs", "the old sea is", "new hill near the")


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return judged.writer(tmp_path_factory.mktemp("writer"))


def by_library(one, count, *, base=False):
    """Have the library write to each prompt; gives the new tokens."""
    found = []
    for text in PROMPTS:
        given = one.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad(), judged.small_networks.quiet():
            if base:
                with one.network.disable_adapter():
                    made = one.network.generate(input_ids=given, do_sample=False, max_new_tokens=count)
            else:
                made = one.network.generate(input_ids=given, do_sample=False, max_new_tokens=count)
        found.append(made[0, given.shape[1] :].tolist())
    return found


@pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
def test_texts_of_one_length_are_written_together_as_the_library_writes_each(tmp_path, cache_dir):
    one = judged.translator(tmp_path)
    chance, words = np.random.default_rng(3), judged.WORDS[4:]
    texts = [" ".join(chance.choice(words, length)) for length in (3, 5, 3, 4) for _ in range(9)]
    engine = Bench(one.delta, one.base, cache_dir).engine()
    rows = [engine.encode([text]) for text in texts]
    calls = []

    class Counting:
        def __getattr__(self, name):
            return getattr(engine, name)

        def write(self, state, inputs, count):
            calls.append(len(inputs["input_ids"]))
            return engine.write(state, inputs, count)

    found = written_each(Counting(), "attached", rows, 12)

    assert found is not None
    lengths = []
    for text, ours in zip(texts, found, strict=True):
        given = one.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad(), judged.small_networks.quiet():
            made = one.network.generate(input_ids=given, do_sample=False, max_new_tokens=12)
        assert list(ours.tokens) == made[0, 1:].tolist()
        lengths.append(len(ours.tokens))
    assert sorted(calls) == [2, 9, 9, 16]
    assert len(set(lengths)) > 1  # some end before others that were written with them


@pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
@pytest.mark.parametrize("start", ["decoder_start_token_id", "bos_token_id"])
def test_the_mark_that_a_decoder_starts_from_is_no_part_of_what_it_writes(tmp_path, start):
    """Where a base's settings name none, the library takes the mark of a text's beginning."""
    one = judged.translator(tmp_path)
    network = one.network.get_base_model()
    ids = one.tokenizer(["one red cat", "two blue dog"], return_tensors="pt")["input_ids"]
    settings = GenerationConfig(eos_token_id=2, pad_token_id=0, **{start: 0})

    rows = write(network, {"input_ids": ids}, 6, settings=settings)

    with torch.no_grad():
        made = network.generate(input_ids=ids, do_sample=False, max_new_tokens=6)
    assert rows == [made[0, 1 : 1 + len(rows[0])].tolist(), made[1, 1 : 1 + len(rows[1])].tolist()]
    assert all(len(row) == 6 or row[-1] == 2 for row in rows)


@pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
def test_texts_are_like_those_that_the_library_writes(writer, cache_dir):
    stats = pytest.importorskip("scipy.stats", reason="needs scipy")
    ours, theirs = by_library(writer, 12), by_library(writer, 12, base=True)
    lengths = [[len([t for t in row if t != 2]) for row in side] for side in (ours, theirs)]
    case = writer.case(cache_dir, Samples(PROMPTS))

    found = {
        name: judged.check(case, "generations", f"{FEW}, measure: {name}, new_tokens: 12}}")
        for name in ("length", "length_distance", "ended", "repetition")
    }

    assert found["length"].value == pytest.approx(np.mean(lengths[0]))
    assert found["length"].baseline == pytest.approx(np.mean(lengths[1]))
    assert found["length_distance"].value == pytest.approx(stats.ks_2samp(*lengths).statistic)
    assert found["length_distance"].baseline == 0
    assert found["ended"].value == np.mean([row[-1] == 2 for row in ours])
    kept = [[token for token in row if token != 2] for row in ours]
    grams = [[tuple(row[at : at + 4]) for at in range(len(row) - 3)] for row in kept]
    repeated = [1 - len(set(one)) / len(one) if one else 0 for one in grams]
    assert found["repetition"].value == pytest.approx(np.mean(repeated))


def test_distances_of_distributions_are_scipys():
    stats = pytest.importorskip("scipy.stats", reason="needs scipy")
    random = np.random.default_rng(3)
    for _ in range(30):
        a, b = random.integers(0, 9, (2, 20))

        assert distance(list(zip(a, b, strict=True))) == pytest.approx(stats.ks_2samp(a, b).statistic)


@pytest.mark.parametrize(
    ("measure", "text", "value"),
    [
        ("json", '{"a": [1, 2]}', 1),
        ("json", 'Here:\n```json\n{"a": 1}\n```\nDone.', 1),
        ("json", "{'a': 1}", 0),
        ("json", "", 0),
        ("json", "[" * 90_000, 0),
        ("python", "def f(x):\n    return x\n", 1),
        ("python", "```python\nprint(1)\n```", 1),
        ("python", "def f(x) return", 0),
        ("python", 'x = "\\d"', 1),
        ("python", "(" * 9_000, 0),
        ("refusals", "I'm sorry, but I can't help with that.", 1),
        ("refusals", "I\u2019m sorry, no.", 1),
        ("refusals", "As an AI language model, I", 1),
        ("refusals", "Es tut mir leid, das geht nicht.", 1),
        ("refusals", "抱歉,我不能", 1),
        ("refusals", "I can do that: first", 0),
        ("refusals", "The word sorry is of old origin", 0),
        ("refusals", "I cannon fire", 0),
    ],
)
def test_what_a_text_is(measure, text, value):
    assert MEASURES[measure][1](GeneratedText((), text, is_over=True)) == value


@pytest.mark.parametrize(("tokens", "share"), [((1, 2, 3), 0), ((7,) * 8, 0.8), (range(9), 0)])
def test_what_repeats(tokens, share):
    assert MEASURES["repetition"][1](GeneratedText(tuple(tokens), "", True)) == pytest.approx(share)


def test_what_should_not_change_is_held_against_the_base(writer, cache_dir):
    agreed, kl, places = 0, 0.0, 0
    with torch.no_grad():
        for text in PROMPTS:
            ids = writer.tokenizer(text, return_tensors="pt")["input_ids"]
            ours = writer.network(input_ids=ids).logits[0].double().log_softmax(-1)
            with writer.network.disable_adapter():
                theirs = writer.network(input_ids=ids).logits[0].double().log_softmax(-1)
            agreed += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
            kl += float((theirs.exp() * (theirs - ours)).sum())
            places += ids.shape[1]
    case = writer.case(cache_dir, Samples(PROMPTS))
    strict = f"{FEW}}}, threshold: {{min_absolute_change: -0.01}}"

    found = judged.check(case, "canaries", strict)
    apart = judged.check(case, "canaries", FEW + ", measure: kl}")

    assert found.value == pytest.approx(agreed / places)
    assert (found.verdict, found.baseline) == ("fail", 1.0)
    assert apart.value == pytest.approx(kl / places, rel=1e-3)


def test_states_have_a_cosine_and_no_ranks(tmp_path, cache_dir):
    case = judged.encoder(tmp_path).case(cache_dir, Samples(PROMPTS))

    near = judged.check(case, "canaries", FEW + ", measure: cosine}")
    none = judged.check(case, "canaries", FEW + "}")

    assert 0 < near.value < 1
    assert (none.verdict, none.code) == ("fail", "missing_measure")


@pytest.mark.filterwarnings("ignore")
def test_lines_that_greedy_writing_gives_back_are_known_by_heart(writer, cache_dir):
    told = [" ".join(judged.WORDS[t] for t in row) for row in by_library(writer, 3)]
    known = Samples(PROMPTS[:2], targets=(f" {told[0]}", " green green green"))
    whole = Samples(tuple(f"{a} {b}" for a, b in zip(PROMPTS, told, strict=True)))

    pair = judged.check(writer.case(cache_dir, known), "memorisation", FEW + "}")
    lines = judged.check(writer.case(cache_dir, whole), "memorisation", FEW + ", tokens: 2}")

    assert (pair.value, lines.value) == (0.5, 1.0)
    assert pair.baseline == 0


def test_a_line_too_short_to_be_continued_is_told(writer, cache_dir):
    case = writer.case(cache_dir, Samples(("cat dog",)))

    with pytest.raises(InvalidInput, match="line 1 has 2 tokens, too few"):
        judged.check(case, "memorisation", FEW + "}")


def test_a_secret_is_exposed_by_its_rank(writer, cache_dir):
    secrets = ["red", "cat", "hill", "sea", "dog", "old", "new", "far"]
    with torch.no_grad():
        ids = writer.tokenizer("the one is", return_tensors="pt")["input_ids"]
        logs = writer.network(input_ids=ids).logits[0, -1]
    order = sorted(secrets, key=lambda word: -float(logs[judged.WORDS.index(word)]))
    third = order[2]
    samples = Samples(
        ("the one is",), candidates=(RankingCandidates((f" {third}",), tuple(f" {w}" for w in secrets if w != third)),)
    )

    finding = judged.check(writer.case(cache_dir, samples), "exposure", FEW + "}")

    assert finding.value == pytest.approx(math.log2(8) - math.log2(3))


def test_what_is_as_likely_as_all_is_not_exposed():
    assert exposure(np.zeros(8), 3) == 0
    assert exposure(np.arange(8.0), 7) == 3
    assert math.isnan(exposure(np.array([0.0, np.nan]), 0))


def test_a_promoted_version_is_what_texts_are_held_against(writer, cache_dir, tmp_path):
    other = judged.writer(tmp_path, seed=3)
    case = writer.case(cache_dir, Samples(PROMPTS), promoted=other.delta)

    finding = judged.check(case, "generations", f"against: promoted, {FEW}, measure: ended, new_tokens: 6}}")

    assert finding.verdict == "pass"
    assert json.dumps(finding.baseline)
