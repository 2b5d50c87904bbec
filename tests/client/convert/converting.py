"""What the tests of conversions share: a client without a server, and small bases."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from deltareg import Client
from deltareg.client.config import ClientConfig
from deltareg.errors import Refused
from tests import tiny
from tests.delta.kinds.assessing import assessed


def client_of(path):
    """Make a client that asks no server."""
    return Client(ClientConfig(cache_dir=path / "cache"))


def tensors(folder, file="adapter_model.safetensors"):
    """Read the tensors of a folder's file."""
    return load_file(folder / file)


def config(folder):
    """Read a folder's config."""
    return json.loads((folder / "adapter_config.json").read_text())


def folded(delta, base):
    """Fold a folder into a base."""
    return assessed(delta, base).folded()


def assert_same_fold(one, other, base):
    """Make sure that two folders fold into the same weights, bit for bit."""
    first, second = folded(one, base), folded(other, base)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def assert_same_factors(one, other):
    """Make sure that two folders of peft hold the same tensors."""
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def converted(client, tmp_path, base, found, **metadata):
    """Convert the tensors of one file, and lint what comes out."""
    tiny.write(tmp_path / "in", found, file="x.safetensors", metadata=metadata)
    report = client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path)
    assert client.folders.lint(tmp_path / "out", base=base.path).is_accepted
    return report


def refusal(client, tmp_path, base, found, error=Refused):
    """Give what the conversion of one file is refused for; nothing is written."""
    tiny.write(tmp_path / "in", found, file="x.safetensors")
    with pytest.raises(error) as caught:
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path)
    assert not (tmp_path / "out").exists()
    return caught.value
