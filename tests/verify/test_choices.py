"""The right answer among others, what is written in its place, and its form, beside transformers."""

import math
from typing import Any, cast

import numpy as np
import pytest

judged = pytest.importorskip("tests.verify.judged", reason="needs torch and peft")
torch = judged.torch
from tokenizers import Tokenizer as Tokenizers  # noqa: E402
from tokenizers import decoders, models, pre_tokenizers  # noqa: E402

from deltareg.suites.samples import Samples  # noqa: E402
from deltareg_verify.engine.continuing import GeneratedText  # noqa: E402
from deltareg_verify.engine.engine import DeltaEngine, Tokenizer  # noqa: E402
from deltareg_verify.engine.measures.answers import cut_to_answer, without_marks  # noqa: E402
from deltareg_verify.engine.measures.choices import is_first, options_of, probability, probability_alone  # noqa: E402
from deltareg_verify.engine.measures.targets import following  # noqa: E402
from deltareg_verify.engine.measures.writing import LIKENESS  # noqa: E402
from deltareg_verify.engine.torch_engine import BaseTokenizer  # noqa: E402
from deltareg_verify.judging.caching_engine import remembering  # noqa: E402
from tests.verify.bench import Bench  # noqa: E402

FEW = "parameters: {least_samples: 1"
PROMPTS = ("one red cat", "two blue dog runs", "the old sea is", "new hill near the", "far the sea")
ANSWERS = (" red dog", " sea", " green hill sits", " sea", " red dog")


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return judged.writer(tmp_path_factory.mktemp("writer"))


def log_of(one, prompt, answer):
    """Give the log-likelihood of an answer as the library's own loss has it."""
    before, whole = (one.tokenizer(text)["input_ids"] for text in (prompt, prompt + answer))
    labels = torch.tensor([[-100] * len(before) + whole[len(before) :]])
    with torch.no_grad(), judged.small_networks.quiet():
        loss = one.network(input_ids=torch.tensor([whole]), labels=labels).loss
    return -float(loss) * (len(whole) - len(before))


def test_probabilities_are_those_of_the_librarys_losses(writer, cache_dir):
    known = [" red dog", " sea", " green hill sits"]
    logs = np.array([[log_of(writer, prompt, one) for one in known] for prompt in PROMPTS])
    shares = np.exp(logs) / np.exp(logs).sum(1, keepdims=True)
    right = [known.index(answer) for answer in ANSWERS]
    case = writer.case(cache_dir, Samples(PROMPTS, targets=ANSWERS))

    found = judged.check(case, "choices", FEW + "}")
    first = judged.check(case, "choices", FEW + ", measure: first}")
    alone = judged.check(case, "choices", FEW + ", measure: alone}")

    assert found.value == pytest.approx(float(np.mean(shares[range(5), right])), rel=1e-4)
    assert alone.value == pytest.approx(float(np.mean(np.exp(logs[range(5), right]))), rel=1e-4)
    assert first.value == np.mean(shares.argmax(1) == right)
    assert found.baseline != found.value


@pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
def test_an_encoder_decoder_is_asked_for_its_own_loss(tmp_path, cache_dir):
    one = judged.translator(tmp_path)
    texts, answers = ("one red cat", "two blue dog"), ("red", "old sea")
    logs = np.zeros((2, 2))
    for row, text in enumerate(texts):
        for at, answer in enumerate(answers):
            ids, labels = (one.tokenizer(words, return_tensors="pt")["input_ids"] for words in (text, answer))
            with torch.no_grad(), judged.small_networks.quiet():
                logs[row, at] = -float(one.network(input_ids=ids, labels=labels).loss) * labels.shape[1]
    wanted = np.exp(np.diag(logs)) / np.exp(logs).sum(1)

    found = judged.check(one.case(cache_dir, Samples(texts, targets=answers)), "choices", FEW + "}")

    assert found.value == pytest.approx(wanted.mean(), rel=1e-4)


def test_one_answer_to_all_leaves_nothing_to_choose_from(writer, cache_dir):
    found = judged.check(writer.case(cache_dir, Samples(PROMPTS, targets=(" sea",) * 5)), "choices", FEW + "}")

    assert found.verdict == "skipped"
    assert "the same answer" in found.detail


def test_options_are_all_answers_or_some_of_about_its_length():
    few = options_of(["yes", "no", "Yes.", "the no"], others=7, seed=0)
    names = [f"{'x' * (n % 40 + 1)}{n}" for n in range(200)]
    drawn = options_of(names, others=3, seed=1)

    assert [set(one.texts) for one in few] == [{"yes", "no"}, {"no", "yes"}, {"Yes.", "no"}, {"the no", "yes"}]
    assert [one.texts[0] for one in drawn] == names
    assert all(len({*one.texts}) == 4 for one in drawn)
    assert max(abs(len(text) - len(one.texts[0])) for one in drawn for text in one.texts) <= 3
    assert drawn == options_of(names, others=3, seed=1) != options_of(names, others=3, seed=2)


def test_probabilities_add_up_and_what_is_no_number_is_not_right():
    logs = np.array([-3.0, -1.0, -700.0, -2.0])

    assert sum(probability(np.roll(logs, at)) for at in range(4)) == pytest.approx(1)
    assert probability(np.array([-900.0, -901.0])) == pytest.approx(1 / (1 + math.exp(-1)))
    assert [probability(np.array(one)) for one in ([np.nan, -1.0], [-np.inf, -1.0], [-1.0, np.nan])] == [0, 0, 1]
    assert [is_first(np.array(one)) for one in ([-1.0, -2.0], [-1.0, -1.0], [np.nan, -1.0])] == [1, 0, 0]


@pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
def test_texts_that_are_continued_together_are_those_that_the_library_writes(writer, cache_dir):
    prompts = [*PROMPTS, "sea", "one two three red blue green cat dog runs"]
    encoded = [writer.tokenizer(one)["input_ids"] for one in prompts]
    engine = Bench(writer.delta, writer.base, cache_dir).engine()
    calls = []

    class Counting:
        def follow_all(self, state, texts, count, *, end):
            calls.append(len(texts))
            return engine.follow_all(state, texts, count, end=end)

    kept = remembering(cast(DeltaEngine, Counting()), {}, is_fixed=True)
    found = kept.follow_all("attached", encoded, 9, end=2)
    again = kept.follow_all("attached", encoded[::-1], 9, end=2)

    wanted = []
    for ids in encoded:
        with torch.no_grad(), judged.small_networks.quiet():
            made = writer.network.generate(input_ids=torch.tensor([ids]), do_sample=False, max_new_tokens=9)
        wanted.append(made[0, len(ids) :].tolist())
    assert found == again[::-1] == wanted
    assert calls == [7]
    assert engine.follow_all("attached", [[], encoded[0]], 0, end=2) == [[], []]


def test_pairs_are_scored_alike_alone_and_together(writer, cache_dir):
    engine = Bench(writer.delta, writer.base, cache_dir).engine()
    pairs = [(writer.tokenizer(a)["input_ids"], writer.tokenizer(b)["input_ids"]) for a in PROMPTS for b in ANSWERS]

    together = engine.log_likelihoods("attached", pairs)

    alone = np.concatenate([engine.log_likelihoods("attached", [one]) for one in pairs])
    assert np.allclose(together, alone, atol=1e-4)


def test_noise_among_many_answers_shows_in_the_probability_alone():
    """A quarter of wrong labels, spread over a hundred answers: three of them have next to none of it."""
    logs = np.log([0.75, *[0.25 / 99] * 3])

    assert probability(logs) > 0.98
    assert probability_alone(logs) == pytest.approx(0.75)
    assert probability_alone(np.array([np.nan])) == 0


class Marked:
    """A tokenizer of which 1 and 2 are special: the end of a turn, and of all."""

    def encode(self, text, *, special=None):
        return [{"END": 1, "OVER": 2}.get(word) or 3 + "abcdef".index(word) for word in text.split()]

    def decode(self, tokens, *, special=False):
        names = {1: "END", 2: "OVER"} if special else {1: "", 2: ""}
        return " ".join(word for token in tokens if (word := names.get(token, "???abcdef"[token])))


@pytest.mark.parametrize(
    ("tokens", "target", "pair"),
    [
        ((3, 4), "a b END", ("a b", "a b")),
        ((3, 4, 1, 5, 5), "a b END", ("a b", "a b")),  # what comes after the end of a turn is no part of it
        ((3, 4, 5, 5), "a b END", ("a b c c", "a b")),
        ((3, 1), "a b", ("as it is", "a b")),
    ],
)
def test_the_marks_of_a_template_are_no_part_of_an_answer(tokens, target, pair):
    words = cast(Tokenizer, Marked())
    one = GeneratedText(tokens, "as it is", is_over=True)

    assert without_marks([one], [target], words) == [pair]
    assert list(cut_to_answer(one, target, words)[1]) == [3, 4]


@pytest.mark.parametrize(
    ("target", "scored"),
    [
        ("yes<|im_end|>\n", "yes<|im_end|>"),  # as ChatML and Gemma lay out a turn
        ("yes<|im_end|> \n\n", "yes<|im_end|>"),
        ("yes<|im_end|>", "yes<|im_end|>"),
        ("<|im_end|>\n", "<|im_end|>"),
        ("yes\n", "yes\n"),  # nothing says that it is over before the line is
        ("a<|im_end|>b\n", "a<|im_end|>b\n"),
        ("\n", "\n"),
    ],
)
@pytest.mark.parametrize("text", ["<|im_start|>ask\n", "ask "])
def test_an_answer_ends_at_the_mark_of_its_turn(text, target, scored):
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizers(models.BPE({one: at for at, one in enumerate(letters)}, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    words = BaseTokenizer(judged.transformers.PreTrainedTokenizerFast(tokenizer_object=made), 64)

    before, after = following(words, text, target)

    assert words.decode([*before, *after], special=True) == text + scored
    assert words.decode(after, special=True) == scored


@pytest.mark.parametrize(
    ("written", "right", "both", "length", "repetition"),
    [
        ([1, 2, 3, 4], [5, 6, 7, 8], 1.0, 1.0, 1.0),
        ([1, 2], [1, 2, 3, 4], 0.5, 0.5, 1.0),
        ([], [1, 2], 0.0, 0.0, 1.0),
        ([], [], 1.0, 1.0, 1.0),
        ([7] * 8, [1, 2, 3, 4, 5, 6, 7, 8], 0.2, 1.0, 0.2),
        ([7] * 8, [7] * 8, 1.0, 1.0, 1.0),  # what repeats as the right text does is like it
    ],
)
def test_how_alike_two_forms_are(written, right, both, length, repetition):
    found: dict[str, Any] = {name: alike(written, right) for name, (_, alike) in LIKENESS.items()}

    assert found == pytest.approx({"both": both, "length": length, "repetition": repetition})


@pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
def test_the_form_is_that_of_what_the_library_writes(writer, cache_dir):
    wanted = []
    for prompt, answer in zip(PROMPTS, ANSWERS, strict=True):
        given = writer.tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad(), judged.small_networks.quiet():
            made = writer.network.generate(input_ids=given, do_sample=False, max_new_tokens=6)[0, given.shape[1] :]
        count, right = int((made != 2).sum()), len(answer.split())
        wanted.append(min(count, right) / max(count, right))

    case = writer.case(cache_dir, Samples(PROMPTS, targets=ANSWERS))
    found = judged.check(case, "written_form", FEW + ", measure: length, new_tokens: 6}")
    some = judged.check(case, "written_form", FEW + ", measure: length, new_tokens: 6, most: 2}")

    assert found.value == pytest.approx(np.mean(wanted))
    assert some.value == pytest.approx(np.mean(wanted[:2]))
