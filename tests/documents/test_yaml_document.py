"""YAML is read strictly: what a reader of the file could not see is refused."""

import pytest

from deltareg.documents.yaml_document import read_yaml
from deltareg.errors import InvalidInput


def test_plain_values_come_as_they_are():
    raw = b"a: 1\nb: [x, 2.5, true]\nc: {d: null}\n"

    assert read_yaml(raw, what="suite") == {"a": 1, "b": ["x", 2.5, True], "c": {"d": None}}


def test_json_is_read_as_well():
    assert read_yaml(b'{"a": ["b", 3]}', what="suite") == {"a": ["b", 3]}


def test_a_time_stays_text():
    assert read_yaml(b"from: 2026-12-20T00:00:00Z", what="policy")["from"] == "2026-12-20T00:00:00Z"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"a: 1\nb: 2\na: 3\n", "line 3, column 1: 'a' is given twice"),
        (b"a: &x [1]\nb: *x\n", "line 2, column 4: an alias"),
        (b"on: 1\n", "the key True is no text"),
        (b"a: !!python/object/apply:os.system [id]\n", "line 1, column 4"),
        (b"a: [1\n", "no valid YAML"),
        (b"- a\n", "a mapping of keys"),
        (b"", "a mapping of keys"),
        (b"a: 1\n---\nb: 2\n", "no valid YAML"),
        (b"\xff\xfe\x00", "no valid YAML"),
        (b"a: " + b"[" * 40 + b"]" * 40, "at most 16 deep"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, "YAML"),
        (b"a: " + b"x" * (1 << 20), "at most 1 MiB"),
    ],
)
def test_anything_else_is_refused_with_its_place(raw, said):
    with pytest.raises(InvalidInput, match=said.replace("[", r"\[")):
        read_yaml(raw, what="suite")
