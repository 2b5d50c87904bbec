"""Drawing the general probe set of a base."""

import json

import pytest

from deltareg.errors import InvalidInput
from deltareg.suites.base_probes import BaseProbes, draw, modalities_of

LLAMA = {"model_type": "llama", "vocab_size": 32_000}


def test_whoever_draws_for_a_base_draws_the_same():
    assert draw("blake3:aa", LLAMA) == draw("blake3:aa", LLAMA)


def test_two_bases_are_asked_different_things():
    one, two = draw("blake3:aa", LLAMA), draw("blake3:bb", LLAMA)

    assert {text.text for text in one.texts} != {text.text for text in two.texts}
    assert one.seed != two.seed


def test_there_are_languages_programs_and_chats_in_every_draw():
    found = draw("blake3:aa", LLAMA).texts

    kinds = [one.kind for one in found]
    assert (kinds.count("text"), kinds.count("code"), kinds.count("chat")) == (8, 4, 2)
    assert len({one.name for one in found if one.kind == "text"}) == 7
    assert all(one.answer for one in found if one.kind == "chat")


def test_what_is_written_is_read_again():
    drawn = draw("blake3:aa", LLAMA)

    assert BaseProbes.decode(drawn.encode()) == drawn


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"format": 2}', b'{"format": 1, "texts": "x"}', b"\xff"])
def test_what_is_no_probe_set_is_refused(raw):
    with pytest.raises(InvalidInput, match=r"probe set"):
        BaseProbes.decode(raw)


def test_a_probe_set_of_a_later_release_says_so():
    later = json.loads(draw("blake3:aa", LLAMA).encode()) | {"format": 2}

    with pytest.raises(InvalidInput, match="another release"):
        BaseProbes.decode(json.dumps(later).encode())


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LLAMA, ("text",)),
        ({"image_size": 224, "patch_size": 16}, ("image",)),
        ({"vision_config": {"patch_size": 16}, "text_config": {"vocab_size": 9}}, ("image", "text")),
        ({"num_mel_bins": 80, "vocab_size": 9}, ("audio", "text")),
        ({}, ("text",)),
    ],
)
def test_a_config_tells_what_a_network_takes(config, expected):
    assert modalities_of(config) == expected
