"""TOML of others: what would take for ever, or ends the library in its own way, is refused like any other."""

import pytest

from deltareg.documents.toml_document import parse_toml


def test_a_document_is_read():
    assert parse_toml('a = 1\n[b]\nc = ["é"]\n'.encode()) == {"a": 1, "b": {"c": ["é"]}}


@pytest.mark.parametrize(
    "raw",
    [
        b"a." * 500_000 + b"a = 1\n",  # quadratic time
        b"a = " + b"[" * 8_000,
        b"a = " + b"1" * 5_000,
        b"#\n" * (1 << 20),
        b"\xff",
        b"a = ",
    ],
    ids=["many parts", "nested", "many digits", "large", "no text", "no value"],
)
def test_anything_else_is_refused(raw):
    with pytest.raises(ValueError):  # noqa: PT011  # each has words of its own
        parse_toml(raw)
