"""Codes of few letters: as short as Huffman's, and nothing else than what was written is read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.codec import decode_chunk
from deltareg.codec.canonical import lengths_of, read_bits, read_letters, words_of, write_bits
from deltareg.codec.chunk_codec import LENGTHS
from deltareg.codec.codecs import thread_codecs
from deltareg.codec.lengths import MOST_WORDS
from deltareg.errors import IntegrityFailure
from tests.codec.samples import chunk_of, nudged, payload_of, sound_chunk, weights

letters_of = st.lists(st.integers(0, 40), min_size=1, max_size=300)


def coded(letters):
    lengths = lengths_of(np.bincount(letters).tolist())
    assert lengths is not None
    words = np.array(words_of(lengths))[letters]
    return lengths, write_bits(words, np.array(lengths)[letters]).tobytes()


@given(letters=letters_of)
def test_letters_come_back(letters):
    lengths, data = coded(letters)

    found, used = read_letters(memoryview(data + b"more"), lengths, len(letters))

    assert found.tolist() == letters
    assert used == len(data)


@given(letters=letters_of)
def test_the_code_is_within_a_bit_of_the_entropy(letters):
    _, data = coded(letters)

    counts = np.bincount(letters)
    counts = counts[counts > 0]
    entropy = float(-(counts * np.log2(counts / len(letters))).sum())
    assert entropy - 8 <= 8 * len(data) <= entropy + len(letters) + 8


def test_the_words_are_those_of_the_format():
    assert words_of([2, 0, 1, 3, 3]) == [0b10, 0, 0b0, 0b110, 0b111]


def test_a_code_that_would_need_longer_words_is_not_made():
    fibonacci = [1, 1]
    while len(fibonacci) < 20:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])

    assert lengths_of(fibonacci) is None


@given(values=st.lists(st.integers(0, (1 << 20) - 1), max_size=200))
def test_bits_come_back(values):
    numbers = np.array(values, dtype=np.int64)
    sizes = np.array([max(1, value.bit_length()) for value in values], dtype=np.int64)

    data = write_bits(numbers, sizes).tobytes()

    assert read_bits(memoryview(data), sizes).tolist() == values


def test_a_longer_chunk_is_left_to_others():
    codec = thread_codecs()[LENGTHS]
    base = weights(MOST_WORDS + 1)

    assert codec.encode(memoryview(nudged(base)), memoryview(base), item_bytes=2) is None


# Eight words of two bytes; letters 0 and 1 have words of one bit each, 0 and 1.
COUNT = 8
TABLE = bytes([2, 0x11])
PAYLOADS = {
    "has nothing": b"",
    "has no letter": bytes([0]),
    "has more letters than bits": bytes([18, *[0x11] * 9]),
    "ends in its table": bytes([4, 0x11]),
    "has a letter too many": bytes([1, 0x11, 0]),
    "has lengths that make no code": bytes([3, 0x11, 0x01, 0]),
    "has only zeros for lengths": bytes([2, 0, 0]),
    "ends in its words": TABLE,
    "is followed by a byte": TABLE + bytes(2),
    "has a word that no letter has": bytes([1, 0x02, 0xFF, 0xFF]),
    "lacks a bit": bytes([3, 0x10, 0x01, 0xFF]),
    "has bits that nobody asked for": bytes([3, 0x10, 0x01, 0x7F, 0x7F, 1]),
    "fills up with ones": bytes([3, 0x10, 0x01, 0x01, 0xFF]),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_lengths_are_refused_whose_payload(name):
    payload = PAYLOADS[name]
    reference = memoryview(bytes(2 * COUNT))

    with pytest.raises(IntegrityFailure):
        decode_chunk(payload, chunk_of(payload, LENGTHS, 2 * COUNT), item_bytes=2, reference=reference)


def test_the_bits_are_those_of_the_format():
    # 0, 1 and 2 in zigzag and five more zeros: the words 0, 10, 110 and 0; of 2 the bit 0 is left.
    payload = bytes([3, 0x21, 0x03, 0b01011000, 0b00000000, 0])
    data = b"".join(x.to_bytes(2, "little") for x in (0, 0xFFFF, 1, 0, 0, 0, 0, 0))

    found = decode_chunk(
        payload, sound_chunk(payload, LENGTHS, data), item_bytes=2, reference=memoryview(bytes(2 * COUNT))
    )

    assert found == data


@given(flip=st.integers(0, 7), at=st.integers(0, 2000))
def test_a_damaged_payload_never_decodes_to_other_bytes(flip, at):
    data, reference = memoryview(weights(700)), memoryview(weights(700, seed=3))
    payload = payload_of(thread_codecs()[LENGTHS], data, reference)
    at %= len(payload)
    damaged = payload[:at] + bytes([payload[at] ^ (1 << flip)]) + payload[at + 1 :]

    try:
        back = decode_chunk(damaged, sound_chunk(payload, LENGTHS, data), item_bytes=2, reference=reference)
    except IntegrityFailure:
        back = data

    assert back == data
