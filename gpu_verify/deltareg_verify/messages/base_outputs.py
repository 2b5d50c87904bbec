"""The outputs of a base on the seeded probe of a suite, as a file that the children of later runs read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from deltareg.errors import InvalidInput

OUTPUTS_FILE = "base-outputs.safetensors"
MOST_BYTES = 32 << 20
_PROBE, _OUTPUT = "probe", "output."


@dataclass(frozen=True, slots=True)
class BaseOutputs:
    """What a base answers to a probe.

    Attributes:
        probe: A digest of all that the answer depends on, the probe's own values among it.
        outputs: By name, float32.
    """

    probe: str
    outputs: Mapping[str, NDArray[np.float32]]

    def encode(self) -> bytes:
        """Encode them as safetensors."""
        probe = np.frombuffer(self.probe.encode(), np.uint8)
        named = {f"{_OUTPUT}{name}": np.ascontiguousarray(values) for name, values in self.outputs.items()}
        return save({_PROBE: probe, **named})

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Decode what `encode` wrote.

        Raises:
            InvalidInput: It is something else.
        """
        try:
            tensors = load(raw)
            probe = tensors.pop(_PROBE).tobytes().decode()
        except (SafetensorError, KeyError, ValueError) as error:
            raise InvalidInput(f"these are no outputs of a base: {error}") from error
        if not all(name.startswith(_OUTPUT) and values.dtype == np.float32 for name, values in tensors.items()):
            raise InvalidInput("these are no outputs of a base")
        return cls(probe, {name.removeprefix(_OUTPUT): values for name, values in tensors.items()})
