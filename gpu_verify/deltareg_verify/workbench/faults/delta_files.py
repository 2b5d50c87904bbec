"""A delta's files, opened for faults: tensors with their meaning, and the config.

What a tensor does is known from the account of the delta, so that a fault is written once for all
kinds and layouts. Of tensors that a change of the weights is proportional to, the *neutral* value
is known: with it, the delta changes nothing. Zero for the last factor of a product, one for a
scale, the base's own values for what is stored whole.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from deltareg.client.disk.weights_file import TensorSlot, write_header
from deltareg.client.folders.folder import Folder
from deltareg.delta.kind import Account
from deltareg.delta.maths.formula import Tensor
from deltareg.tensors.array import EIGHT_BITS, rounded_bytes, to_f32, view
from deltareg.tensors.header import FLOAT_DTYPES

F32 = NDArray[np.float32]
_LAST = frozenset(
    {
        "adapter_up.bias",
        "adapter_up.weight",
        "beft_bias",
        "bias_delta",
        "block",
        "boft_R",
        "delora_lambda",
        "difference",
        "gralora_B",
        "hada_w2_a",
        "hira_B",
        "kernel",
        "lambda_b",
        "lily_B",
        "lokr_w2",
        "lokr_w2_b",
        "lora_B",
        "lora_embedding_B",
        "oft_R",
        "peanut_B",
        "shira_weight",
        "spectrum",
        "up.bias",
        "up.weight",
    }
)
_SCALES = frozenset({"boft_s", "ia3_l"})
_WHOLE = frozenset({"bias", "norm_weight", "saved", "weight"})


@dataclass(frozen=True, slots=True)
class MutableTensor:
    """One tensor of real numbers.

    Attributes:
        file: The file that holds it.
        dtype: Its dtype there.
        role: What it is in its kind: `lora_A`, `ia3_l`, ….
        target: The base weight or module that it acts on; empty where there is none.
        values: Its values, in float32.
        neutral: The values with which it changes nothing; None where it has none, or is another
            factor of a product.
    """

    file: str
    dtype: str
    role: str
    target: str
    values: F32
    neutral: F32 | None

    @property
    def layer(self) -> int | None:
        """The number of the layer that it acts on."""
        return next((int(word) for word in self.target.split(".") if word.isdigit()), None)

    @property
    def module(self) -> str:
        """The module that it acts on, without its layer: `self_attn.q_proj`."""
        words = self.target.removesuffix(".weight").removesuffix(".bias").split(".")
        last = max((at for at, word in enumerate(words) if word.isdigit()), default=-1)
        return ".".join(words[last + 1 :])

    @property
    def change(self) -> F32:
        """Its distance from the neutral value; for another factor, all of it."""
        return self.values if self.neutral is None else self.values - self.neutral

    def with_change(self, change: F32) -> Self:
        """Return it with another change."""
        values = change if self.neutral is None else self.neutral + change
        return replace(self, values=np.ascontiguousarray(values, dtype=np.float32))


@dataclass(slots=True)
class MutableDelta:
    """A delta that faults change in place.

    Attributes:
        parts: Its tensors of real numbers by name.
        config: The library's config; empty where there is none.
        config_file: The config's file.
        other: Another version of the line, where there is one with the same tensors.
    """

    parts: dict[str, MutableTensor]
    config: dict[str, object] = field(default_factory=dict[str, object])
    config_file: str = ""
    other: Mapping[str, MutableTensor] = field(default_factory=dict[str, MutableTensor])

    def proportional(self) -> Iterator[tuple[str, MutableTensor]]:
        """Yield the tensors that the change of the weights is proportional to."""
        return ((name, part) for name, part in self.parts.items() if part.neutral is not None)

    @property
    def layers(self) -> list[int]:
        """The numbers of the layers that it acts on, in order."""
        layers = {part.layer for part in self.parts.values()}
        return sorted(number for number in layers if number is not None)


def open_parts(folder: Folder, account: Account, base: Mapping[str, Tensor]) -> MutableDelta:
    """Open a delta.

    Args:
        folder: The delta's files.
        account: The account of its tensors.
        base: The base's tensors by name.
    """
    parts = {
        name: _part(path, tensor, account.roles.get(name, ("", "")), base)
        for path in folder.contents
        for name, tensor in folder.tensors_of(path).items()
        if tensor.dtype in FLOAT_DTYPES and tensor.dtype not in EIGHT_BITS
    }
    file = next((one for one in ("adapter_config.json",) if one in folder.documents), "")
    return MutableDelta(parts, dict(folder.documents[file]) if file else {}, file)


def write_parts(opened: MutableDelta, folder: Folder, out: Path) -> None:
    """Write a changed delta into a new folder; files that no fault can change are copied."""
    shutil.copytree(folder.path, out, copy_function=shutil.copyfile)
    for path, file in folder.contents.items():
        if file.header is not None:
            _write_file(opened, folder, path, out / path)
    if opened.config_file:
        (out / opened.config_file).write_text(json.dumps(opened.config, indent=2))


def is_changed(before: MutableDelta, after: MutableDelta) -> bool:
    """Return whether a fault has changed anything that is stored."""
    if before.config != after.config or before.parts.keys() != after.parts.keys():
        return True
    return any(
        not np.array_equal(part.values, after.parts[name].values, equal_nan=True) for name, part in before.parts.items()
    )


def _write_file(opened: MutableDelta, folder: Folder, path: str, out: Path) -> None:
    tensors = folder.tensors_of(path)
    slots = [TensorSlot(name, one.dtype, one.shape) for name, one in tensors.items()]
    header = folder.contents[path].header
    assert header is not None, "a file with tensors"
    with out.open("wb") as file:
        file.write(write_header(slots, header.metadata))
        for name, tensor in tensors.items():
            part = opened.parts.get(name)
            data = tensor.read() if part is None else rounded_bytes(part.values, part.dtype)
            file.write(data)


def _part(path: str, tensor: Tensor, use: tuple[str, str], base: Mapping[str, Tensor]) -> MutableTensor:
    role, target = use
    values = _values(tensor)
    return MutableTensor(path, tensor.dtype, role, target, values, _neutral(role, target, values, base))


def _neutral(role: str, target: str, values: F32, base: Mapping[str, Tensor]) -> F32 | None:
    if role in _LAST:
        return np.zeros_like(values)
    if role in _SCALES:
        return np.ones_like(values)
    own = base.get(target) if role in _WHOLE else None
    if own is None or own.shape != values.shape or own.dtype not in FLOAT_DTYPES:
        return None
    return _values(own)


def _values(tensor: Tensor) -> F32:
    return to_f32(view(tensor.read(), tensor.dtype, tensor.shape), tensor.dtype).copy()
