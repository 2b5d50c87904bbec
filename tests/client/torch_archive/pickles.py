"""Pickles written by hand, instruction by instruction, and put into archives."""

import struct
import zipfile

HEAD, STOP = b"\x80\x02", b"."
EMPTY_DICT, MARK, TUPLE, SET = b"}", b"(", b"t", b"s"


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def named(module, attribute):
    return b"c" + f"{module}\n{attribute}\n".encode()


def number(value):
    raw = value.to_bytes(8, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def tuple_of(*parts):
    return MARK + b"".join(parts) + TUPLE


def called(module, attribute, *args):
    return named(module, attribute) + tuple_of(*args) + b"R"


def storage(elements=4, *, key="0", kind="FloatStorage"):
    where = (text("storage"), named("torch", kind), text(key), text("cpu"), number(elements))
    return tuple_of(*where) + b"Q"


def tensor(held=None, *, offset=0, shape=(4,), strides=(1,)):
    return called(
        "torch._utils",
        "_rebuild_tensor_v2",
        storage() if held is None else held,
        number(offset),
        tuple_of(*map(number, shape)),
        tuple_of(*map(number, strides)),
        b"\x89",
        called("collections", "OrderedDict"),
    )


def state(value, name="a"):
    return HEAD + EMPTY_DICT + text(name) + value + SET + STOP


def in_zip(path, pickle, data=b"\0" * 16):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/data/0", data)
    return path
