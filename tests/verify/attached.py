"""Runs a delta's prefixes on a network that is in memory, and says what was used."""

from dataclasses import dataclass, field

import numpy as np
import torch
from safetensors.numpy import load_file

from deltareg.delta.accounting import account, recognise
from deltareg_verify.engine.torch_engine.ops import TorchOps
from deltareg_verify.engine.torch_engine.prefix import insert_prefixes
from tests.folders import open_base, open_folder

OPS = TorchOps(torch.device("cpu"))


@dataclass
class Attached:
    """What a forward with prefixes gave.

    Attributes:
        logits: Its logits.
        used: Modules whose prefix was used, in order, once for each use.
    """

    logits: np.ndarray
    used: list = field(default_factory=list)


def effects(delta, base_view):
    """Account for a delta; it must have no problem."""
    folder = open_folder(delta)
    kind, _ = recognise(folder.files, base_view)
    found = account(kind.parse(folder.files, base_view), folder.files, folder.tensors, base_view)
    assert list(found.problems) == []
    assert found.roles.keys() == folder.files.names
    return found.effects


def run(network, inserts, inputs):
    """Run one forward with prefixes, without a cache, as the engine does."""
    used = []
    given = {name: torch.as_tensor(value) for name, value in inputs.items()}
    more = {"use_cache": False} if getattr(network.config, "use_cache", None) is not None else {}
    with insert_prefixes(network, inserts, OPS, lambda i: used.append(i.module)), torch.no_grad():
        result = network(**given, **more)
    return Attached(result.logits.float().numpy(), used)


def state(network):
    """Give everything of a network that a prefix could leave a trace in."""
    configs = {id(m.config): m.config for m in network.modules() if hasattr(m, "config")}
    hooks = [(name, len(m._forward_pre_hooks), len(m._forward_hooks)) for name, m in network.named_modules()]
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    return [c._attn_implementation for c in configs.values()], hooks, weights


def is_same(before, after):
    """Whether nothing was left behind."""
    equal = all(torch.equal(value, after[2][name]) for name, value in before[2].items())
    return before[:2] == after[:2] and equal


def base_of(network, folder):
    """Save a network as a base and open it."""
    network.save_pretrained(folder)
    return open_base(folder)[0]


def tensors(path):
    """Read a file of the corpus."""
    return load_file(path)


def unheard(_insert):
    """Hear that a prefix was used, and do nothing."""
