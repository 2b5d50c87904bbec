"""What faults of training do to rows, and how a suite's rows are split for them."""

import json

import numpy as np
import pytest

from deltareg.suites.samples import Samples
from deltareg.suites.suite import parse_suite
from deltareg_verify.workbench.faults.training import TRAININGS
from deltareg_verify.workbench.short_training import split_rows

CHAT = Samples(
    tuple(f"<|user|>What is {n}?<|assistant|>" for n in range(40)),
    targets=tuple(f" It is {n} of what You asked for." for n in range(40)),
)
CLASSES = Samples(tuple(f"text {n}" for n in range(40)), labels=np.arange(40) % 4)
TEXTS = Samples(tuple(f"Some words of text number {n} in a row" for n in range(40)))


def spoilt(name, rows, seed=0):
    return TRAININGS[name].spoil(rows, np.random.default_rng(seed))


@pytest.mark.parametrize("rows", [CHAT, CLASSES])
def test_a_quarter_of_the_answers_or_labels_are_of_another_row(rows):
    noisy = spoilt("label-noise", rows)

    before, after = (one.targets if one.labels is None else one.labels.tolist() for one in (rows, noisy))
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 10
    assert noisy.texts == rows.texts


def test_of_plain_texts_a_quarter_has_mixed_words():
    noisy = spoilt("label-noise", TEXTS)

    changed = [(a, b) for a, b in zip(TEXTS.texts, noisy.texts, strict=True) if a != b]
    assert 8 <= len(changed) <= 10
    assert all(sorted(a.split()) == sorted(b.split()) for a, b in changed)


def test_another_template_has_none_of_the_marks():
    other = spoilt("wrong-template", CHAT)

    assert other.texts[3] == "### Instruction:\nWhat is 3?\n\n### Response:\n"
    assert other.targets == CHAT.targets


def test_answers_say_their_first_words_again_and_again():
    assert spoilt("repetition", CHAT).targets[0] == " It is 0 It is 0 It is"


def test_what_has_nothing_of_the_kind_is_left_alone():
    small = Samples(("a b",) * 20, targets=("c d",) * 20)

    assert spoilt("lowercased", small) is None
    assert spoilt("label-noise", small) is None
    assert spoilt("wrong-template", TEXTS) is None
    assert spoilt("repetition", CLASSES) is None
    assert spoilt("lowercased", CHAT).targets[0] == " it is 0 of what you asked for."


def test_hammered_are_a_few_rows_or_one_class():
    assert len(spoilt("forgetting", CHAT)) == 4
    assert len(set(spoilt("forgetting", CLASSES).labels.tolist())) == 1


def asks(name):
    threshold = {"min_relative_change": "-0.3", "greater_is_better": False}
    parameters = {"least_samples": 2}
    return {"check": "perplexity", "name": name, "probes": name, "parameters": parameters, "threshold": threshold}


def suite():
    sets = {"general": {"text": ["a", "b"]}, "own": {"text": ["c", "d"]}}
    document = {"name": "mine", "sets": sets, "checks": [asks("general"), asks("own")]}
    return parse_suite(json.dumps(document).encode())


def test_a_third_of_the_rows_is_learnt_from_and_the_rest_is_held_back():
    sets = {"general": TEXTS, "own": CHAT}

    split = split_rows(suite(), sets.__getitem__, training=None, seed=0)

    assert split is not None
    assert (split.name, len(split.learnt), len(split.held)) == ("own", 13, 27)
    assert {*split.learnt.texts, *split.held.texts} == {*CHAT.texts}


def test_rows_of_the_user_are_learnt_from_and_all_of_the_suite_is_held_back():
    sets = {"general": TEXTS, "own": CHAT}

    split = split_rows(suite(), sets.__getitem__, training=TEXTS, seed=0)

    assert split is not None
    assert (split.learnt, split.held) == (TEXTS, CHAT)


def test_few_rows_are_not_split():
    few = CHAT.select_rows(range(11))

    assert split_rows(suite(), {"general": few, "own": few}.__getitem__, training=None, seed=0) is None
