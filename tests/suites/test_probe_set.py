"""Probe sets are read strictly, and a file that is not what its name says is told where."""

import numpy as np
import pytest
from safetensors.numpy import save

from deltareg.errors import InvalidInput, Refused
from deltareg.suites.probe_set import read_samples
from deltareg.suites.suite import ProbeSet


def read(name, raw):
    return read_samples(ProbeSet("made", name), raw)


def test_texts_stand_one_a_line():
    assert read("a.txt", b"one\n\ntwo\r\n  \nthree").texts == ("one", "two", "three")


def test_lines_of_json_have_labels_or_none():
    labelled = read("a.jsonl", b'{"text": "good", "label": 1}\n{"text": "bad", "label": 0}\n')

    assert labelled.texts == ("good", "bad")
    assert labelled.labels.tolist() == [1, 0]
    assert read("a.jsonl", b'{"text": "x"}').labels is None


def test_lines_of_json_have_what_belongs_to_a_text():
    translated = read("a.jsonl", b'{"text": "ja", "target": "yes"}\n{"text": "no", "target": "n"}')
    alike = read("a.jsonl", b'{"text": "a", "other": "b", "score": 0.5}')
    ranked = read("a.jsonl", b'{"text": "q", "relevant": ["x"], "others": ["y", "z"]}')

    assert translated.targets == ("yes", "n")
    assert (alike.partners, alike.scores.tolist()) == (("b",), [0.5])
    assert (ranked.candidates[0].relevant, ranked.candidates[0].others) == (("x",), ("y", "z"))


def test_tensors_have_one_row_a_sample():
    arrays = {"pixel_values": np.ones((3, 2), np.float16), "labels": np.array([0, 1, 0])}

    samples = read("a.safetensors", save(arrays))

    assert len(samples) == 3
    assert samples.arrays["pixel_values"].dtype == np.float32
    assert samples.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("a.txt", b"\n \n", "has 0 samples"),
        ("a.txt", b"\xff\xfe", "not UTF-8"),
        ("a.jsonl", b'{"text": "a"}\nnope\n', "a.jsonl, line 2: not valid JSON"),
        ("a.jsonl", b'["a"]', "line 1: a line is an object"),
        ("a.jsonl", b'{"label": 1}', 'line 1: there is no "text"'),
        ("a.jsonl", b'{"text": "a", "label": "x"}', 'line 1: "label" is the number'),
        ("a.jsonl", b'{"text": "a", "label": -1}', 'line 1: "label" is the number'),
        ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "b"}', "1 of 2 lines have a label"),
        ("a.jsonl", b'{"text": "a", "target": ""}', 'line 1: there is no "target"'),
        ("a.jsonl", b'{"text": "a", "other": "b"}', 'line 1: "other" and "score" come together'),
        ("a.jsonl", b'{"text": "a", "other": "b", "score": NaN}', '"score" is a number'),
        ("a.jsonl", b'{"text": "a", "relevant": []}', '"relevant" is a list of one text or more'),
        ("a.jsonl", b'{"text": "a", "relevant": "b", "others": ["b"]}', "'b' is relevant, and is"),
        ("a.safetensors", save({"a": np.ones(1), "targets": np.ones(1)}), "targets are 1 rows"),
        ("a.safetensors", save({"a": np.ones(1), "targets": np.zeros((1, 2), np.uint8)}), "row 0 is empty"),
        ("a.safetensors", save({"a": np.ones(2), "b": np.ones(3)}), "one row a sample"),
        ("a.safetensors", save({"a": np.ones(2), "labels": np.ones(2)}), "2 whole numbers"),
    ],
)
def test_what_is_wrong_is_told_where(name, raw, said):
    with pytest.raises(InvalidInput, match=said):
        read(name, raw)


def test_a_file_that_is_no_safetensors_is_refused():
    with pytest.raises(Refused):
        read("a.safetensors", b"hello")
