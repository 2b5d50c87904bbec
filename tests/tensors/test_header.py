"""The header parser: what it takes and what it calls by name."""

import json
import time

import pytest

from deltareg.errors import Refused
from deltareg.tensors.header import parse_header, strict_json_object

ENTRY = {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}


def file_with_header_of(length):
    """Give a file whose header has exactly this many bytes."""
    body = json.dumps(ENTRY).encode()
    return length.to_bytes(8, "little") + body.ljust(length) + b"\0" * 4


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480, 0x0580])
def test_a_header_whose_length_begins_like_a_pickle_is_a_header(length):
    data = file_with_header_of(length)

    header = parse_header(data[:-4], len(data))

    assert header.tensors.keys() == {"w"}


@pytest.mark.parametrize("start", [b"\x80\x02}q\x00.", b"\x80\x04\x95\x0c\0\0\0\0\0\0\0", b"PK\x03\x04"])
def test_a_pickle_is_called_one(start):
    data = start.ljust(64, b"\x8c")

    with pytest.raises(Refused) as caught:
        parse_header(data, len(data))

    assert caught.value.problem_code == "pickle"


def test_a_key_that_stands_twice_among_many_is_found_in_one_pass():
    keys = [f'"{number}":0' for number in range(50_000)]
    began = time.process_time()

    with pytest.raises(Refused) as caught:
        strict_json_object(("{" + ",".join([*keys, '"49999":1']) + "}").encode())

    assert caught.value.problem_code == "duplicate_key"
    assert time.process_time() - began < 10


@pytest.mark.parametrize(("code", "told"), [("bad_config", "NaN"), ("header", "safetensors")])
def test_what_to_do_about_json_depends_on_what_it_was(code, told):
    with pytest.raises(Refused) as caught:
        strict_json_object(b'{"a": NaN}', code=code)

    assert told in caught.value.fix
