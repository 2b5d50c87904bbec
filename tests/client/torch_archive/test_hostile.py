"""Pickles that want something else: each is refused by name, and nothing at all happens."""

import json
import os
import subprocess
import sys

import pytest

from deltareg.client.convert.torch_archive import read_archive
from deltareg.errors import Refused
from tests.client.torch_archive.pickles import (
    HEAD,
    STOP,
    called,
    in_zip,
    named,
    number,
    state,
    storage,
    tensor,
    text,
    tuple_of,
)

CODE = text("open('canary', 'w')")
NESTED = b")" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(200))

# What is in it -> (the pickle, a word of the refusal).
HOSTILE = {
    "a command": (HEAD + called("posix", "system", text("touch canary")) + STOP, "posix.system"),
    "a command beside tensors": (state(called("os", "system", text("touch canary"))), "os.system"),
    "eval": (state(called("builtins", "eval", CODE)), "builtins.eval"),
    "exec by text": (state(text("builtins") + text("exec") + b"\x93" + tuple_of(CODE) + b"R"), "builtins.exec"),
    "an attribute of an attribute": (state(text("collections") + text("OrderedDict.pop") + b"\x93"), "OrderedDict.pop"),
    "a subprocess": (state(called("subprocess", "Popen", text("touch canary"))), "subprocess"),
    "a file": (state(called("io", "open", text("canary"), text("w"))), "io.open"),
    "a name of torch": (state(called("torch", "load", text("canary"))), "torch.load"),
    "torch's hub": (state(called("torch.hub", "load", text("canary"))), "torch.hub.load"),
    "an import of a new name": (state(named("canary", "anything")), "canary.anything"),
    "an object of a class": (state(named("torch", "Size") + b")\x81"), "0x81"),
    "an object with keywords": (state(named("torch", "Size") + b")}\x92"), "0x92"),
    "the oldest call": (state(b"(" + CODE + b"ibuiltins\neval\n"), "0x69"),
    "another old call": (state(b"(" + named("torch", "Size") + CODE + b"o"), "0x6f"),
    "a registered name": (state(b"\x82\x01"), "0x82"),
    "a buffer from outside": (state(b"\x97"), "0x97"),
    "a storage by line": (state(b"Pcanary\n"), "0x50"),
    "a storage that is no storage": (state(text("canary") + b"Q"), "other than a storage"),
    "a storage outside of the archive": (state(tensor(storage(key="../../x"))), "not known"),
    "a call of a type": (state(named("torch", "FloatStorage") + b")R"), "makes no tensor"),
    "a call of a text": (state(text("eval") + tuple_of(CODE) + b"R"), "calls str"),
    "attributes of a name": (state(named("torch", "Size") + b"}b"), "attributes"),
    "attributes of a dictionary": (state(b"}}" + text("__class__") + text("canary") + b"sb"), "attributes"),
    "items of a list": (state(b"]" + text("a") + text("b") + b"s"), "no dictionary"),
    "keys that are no texts": (state(b"}" + b"))s"), "dictionary of texts"),
    "a mapping with arguments": (state(called("collections", "OrderedDict", tuple_of(text("a")))), "make no tensor"),
    "a memo from nowhere": (state(b"j\xff\xff\xff\xff"), "did not keep"),
    "a memo far away": (state(tensor() + b"r\xff\xff\xff\xff0"), "0x30"),
    "more from the stack than was put": (HEAD + b"\x86" + STOP, "more from its stack"),
    "a mark that was not set": (HEAD + b"t" + STOP, "mark"),
    "two results": (HEAD + b"NN" + STOP, "other things"),
    "a text longer than the file": (HEAD + b"X\xff\xff\xff\xff" + STOP, "text of"),
    "a very long text": (HEAD + b"\x8d" + b"\xff" * 8 + STOP, "text of"),
    "a very long integer": (HEAD + b"\x8a\xff" + b"\x01" * 255 + STOP, "integer"),
    "a name without an end": (HEAD + b"c" + b"a" * 100_000, "very long"),
    "a protocol of tomorrow": (b"\x80\x09N.", "protocol"),
    "tuples in tuples": (state(b")" + b"\x85" * 20_000), "is a tuple"),
    "lists in lists": (state(b"]" * 20_000 + b"a" * 19_999), "is a list"),
    "a list in itself": (state(b"]q\x00h\x00a"), "is a list"),
    "two to the two hundred": (state(NESTED), "is a tuple"),
    "no end of values": (HEAD + b"N" * 2_500_000 + STOP, "instructions"),
    "more elements than there are": (state(tensor(storage(1 << 40))), "expected"),
    "a tensor beyond its storage": (state(tensor(shape=(5,))), "beyond"),
    "a tensor behind its storage": (state(tensor(offset=4, shape=(1,))), "beyond"),
    "a tensor before its storage": (state(tensor(offset=-1)), "other than a storage"),
    "steps backwards": (state(tensor(strides=(-1,))), "not made of counts"),
    "a terabyte of four numbers": (state(tensor(shape=(1 << 20, 1 << 20), strides=(0, 0))), "repeats"),
    "a shape of texts": (state(tensor().replace(number(4), text("4"))), "known"),
    "too many dimensions": (state(tensor(shape=(1,) * 40, strides=(1,) * 40)), "40 dimensions"),
    "a storage twice": (HEAD + b"}(" + text("a") + tensor() + text("b") + tensor(storage(2)) + b"u.", "two ways"),
    "a storage of nothing known": (state(tensor(storage(kind="UntypedStorage"))), "UntypedStorage"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_it_is_refused_by_name(tmp_path, case):
    pickle, word = HOSTILE[case]
    archive = in_zip(tmp_path / "x.bin", pickle).read_bytes()

    with pytest.raises(Refused) as caught:
        read_archive(memoryview(archive))

    assert word in caught.value.message
    assert "carried out" in caught.value.message


@pytest.mark.parametrize("case", HOSTILE)
def test_it_is_refused_as_a_plain_pickle(case):
    with pytest.raises(Refused):
        read_archive(memoryview(HOSTILE[case][0]))


def test_the_harmless_one_is_read(tmp_path):
    archive = in_zip(tmp_path / "x.bin", state(tensor(offset=1, shape=(2,), strides=(2,))))

    found = read_archive(memoryview(archive.read_bytes()))

    assert [t.shape for t in found.values()] == [(2,)]


WATCHED = """
import json, sys
from pathlib import Path
from deltareg.errors import Refused
from deltareg.client.convert.torch_archive import read_archive

files = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())]
events, watching = [], False
sys.addaudithook(lambda name, args: events.append(name) if watching else None)
refused = 0
for data in files:
    try:
        watching = True
        read_archive(memoryview(data))
    except Refused:
        refused += 1
    finally:
        watching = False
print(json.dumps({"refused": refused, "events": events, "modules": sorted(sys.modules)}))
"""


def test_nothing_happens_that_the_interpreter_would_report(tmp_path):
    folder = tmp_path / "archives"
    folder.mkdir()
    for number_, (pickle, _) in enumerate(HOSTILE.values()):
        in_zip(folder / f"{number_}.bin", pickle)
        (folder / f"{number_}.pkl").write_bytes(pickle)

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED, folder],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    told = json.loads(ended.stdout)
    assert told["refused"] == 2 * len(HOSTILE)
    assert told["events"] == []
    assert not {"torch", "canary"} & set(told["modules"])
    assert [path.name for path in tmp_path.iterdir()] == ["archives"]
