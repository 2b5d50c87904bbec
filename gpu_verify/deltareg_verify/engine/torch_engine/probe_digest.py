"""A digest of all that a network's outputs on a probe depend on, beside the files of the network."""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import hashlib
from collections.abc import Mapping

import torch
from torch import nn


def digest_probe(module: nn.Module, dtype: torch.dtype, probe: Mapping[str, torch.Tensor]) -> str:
    """Return the digest of the probe's values, the network's class and dtype, and how many threads compute.

    Args:
        module: The network.
        dtype: What it runs in.
        probe: By parameter of its forward.
    """
    kind = type(module)
    threads = torch.get_num_threads()
    hasher = hashlib.sha256(f"{kind.__module__}.{kind.__qualname__} {dtype} {threads}\n".encode())
    for name in sorted(probe):
        value = probe[name].detach().cpu().contiguous()
        hasher.update(f"{name} {value.dtype} {[*value.shape]}\n".encode())
        hasher.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()
