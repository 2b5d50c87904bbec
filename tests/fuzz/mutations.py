"""Makes an input from sound ones: damaged bytes, other values in documents, other words, and what is far too much."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Literal

from tests.codec.fuzz_mutations import damage

LARGE = 1 << 20
_NUMBERS = (
    *["0", "-1", "1", "255", "65536", "2147483648", "4294967295", "9223372036854775808", "1e999", "NaN"],
    "1" * 5_000,
)
_SIGNS = (
    b'\' " \\ \\u0000 \\ud800 .. / // @ : ~ %00 ? | - = == --- ... null true "" {} [] <<:*a !!python/object:os.system'
)
_WORDS = (
    *_SIGNS.split(),
    *(b"\0", b"\n", b"\r\n", b"\t", b" ", b"- ", b"&a [*a]", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80"),
    *("é".encode(), "٣".encode(), "\u202e".encode(), b"sha256:" + b"0" * 64, b"blake3:" + b"f" * 64),
    *(b"2026-12-01T00:00:00Z", b"9999-12-31T23:59:59+00:00", b"0001-01-01"),
)
_ORDERS: tuple[Literal["little"], Literal["big"]] = ("little", "big")
_NESTING = (
    b"[",
    b"{",
    b'{"a":',
    b"(",
    b"- ",
    b"a: ",
    b"\n",
    b" ",
    b"\\",
    b'"',
    b"0",
    b"9",
    b".",
    b"/",
    b"=",
    b"<",
    b"&a ",
    b",",
)
_VALUES: tuple[object, ...] = (
    *(None, True, False, [], {}, [[]], [{}], {"": ""}, [0, 0]),
    *(-1, 0, 1, 1 << 31, 1 << 32, 1 << 63, 1 << 70, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "x", "\0", "\ud800", "a" * 300, "../x", "/", "0" * 16, "2026-12-01T00:00:00Z"),
    *("sha256:" + "0" * 64, "blake3:" + "f" * 64),
)


def mutate(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Make an input of a corpus, in one way or in some after each other."""
    data, other = rng.choice(corpus), rng.choice(corpus)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        data = rng.choice(_WAYS)(rng, data, other)
    return data[: 4 * LARGE]


def overgrow(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Make an input of about a mebibyte: a stretch of a sound one many times, or one thing within itself."""
    data = rng.choice(corpus)
    if rng.random() < 0.5:
        begin, size = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 3, 8, 40, 400))
        part = data[begin : begin + size] or b"\0"
        at = rng.choice((begin, begin, 0, len(data)))
        return data[:at] + part * (LARGE // len(part)) + data[at:]
    word = rng.choice(_NESTING)
    at = rng.choice((0, len(data), rng.randrange(len(data) + 1)))
    return data[:at] + word * (LARGE // len(word)) + data[at:]


def _damage(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return damage(rng, data, other)


def _number(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Write a number of two, four or eight bytes anywhere, in either order of bytes."""
    del other
    size = rng.choice((1, 2, 4, 8))
    at = rng.randrange(len(data) + 1)
    order: Literal["little", "big"] = rng.choice(_ORDERS)
    held = int.from_bytes(data[at : at + size], order)
    odd = (0, 1, len(data), len(data) - at, held + 1, held - 1, held << 1, 1 << 31, 1 << 40, 1 << 63, (1 << 64) - 1)
    return data[:at] + (rng.choice(odd) % (1 << 8 * size)).to_bytes(size, order) + data[at + size :]


def _word(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Put a word somewhere, in place of something or between."""
    del other
    at, word = rng.randrange(len(data) + 1), rng.choice(_WORDS)
    return data[:at] + word + data[at + rng.choice((0, 0, 1, len(word), rng.randint(0, 30))) :]


def _digits(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Put another number where one stands."""
    del other
    places = [at for at in range(min(len(data), 4096)) if data[at : at + 1].isdigit()]
    if not places:
        return data
    begin = end = rng.choice(places)
    while data[end : end + 1].isdigit():
        end += 1
    return data[:begin] + rng.choice(_NUMBERS).encode() + data[end:]


def _lines(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Repeat, drop, exchange or take over a line."""
    lines = data.split(b"\n")
    at, how = rng.randrange(len(lines)), rng.randrange(4)
    if how == 0:
        lines.insert(at, rng.choice(lines))
    elif how == 1:
        del lines[at]
    elif how == 2:
        rng.shuffle(lines)
    else:
        lines.insert(at, rng.choice(other.split(b"\n")))
    return b"\n".join(lines)


def _swap(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Exchange the rest for the rest of another one, or for any bytes."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice((other[rng.randrange(len(other) + 1) :], rng.randbytes(rng.randint(0, 60))))


def _value(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Put another value into a JSON document, of one of its lines, or one behind bytes that tell its length."""
    head, lines, at = b"", data.split(b"\n"), 0
    if len(lines) > 1:
        at = rng.randrange(len(lines))
    elif data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data):
        size = int.from_bytes(data[:8], "little")
        made = _other_value(rng, data[8 : 8 + size])
        return len(made).to_bytes(8, "little") + made + data[8 + size :]
    lines[at] = _other_value(rng, lines[at]) if len(lines) < 2 or lines[at][:1] in b"{[" else lines[at]
    if lines[0][:1] in b"{[" and len(lines) > 1 and rng.random() < 0.5:  # one document over many lines
        whole = _other_value(rng, data)
        return whole if whole != data else b"\n".join(lines)
    return head + b"\n".join(lines)


def _other_value(rng: random.Random, raw: bytes) -> bytes:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    places = list(_places(document))
    if not places:
        return json.dumps(rng.choice(_VALUES)).encode()
    holder, key = rng.choice(places)
    how = rng.randrange(8)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[rng.choice(("", "a", "\0", "\ud800", key + "x", "a" * 300))] = holder[key]
    elif how == 2:
        holder[key] = [holder[key]] * rng.choice((1, 2, 500))
    elif how == 3:
        source, at = rng.choice(places)
        holder[key] = json.loads(json.dumps(source[at]))
    else:
        holder[key] = rng.choice(_VALUES)
    try:
        return json.dumps(document, ensure_ascii=rng.random() < 0.7).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return raw


def _places(value: object):
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)


Way = Callable[[random.Random, bytes, bytes], bytes]
_WAYS: tuple[Way, ...] = (_damage, _damage, _number, _word, _word, _digits, _lines, _swap, _value, _value, _value)
