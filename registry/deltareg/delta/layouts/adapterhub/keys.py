"""The tensor names that the adapters library writes: `<holder>.<container>.<adapter>.<parameter>`.

`transformer.h.0.output_adapters.adapters.task.adapter_up.weight` is a parameter `adapter_up.weight`
of the adapter `task` in the container `adapters`, held by `transformer.h.0.output_adapters`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

CONTAINERS = frozenset(
    {
        "adapters",
        "loras",
        "refts",
        "invertible_adapters",
        "shared_parameters",
        "prefix_tunings",
        "prefix_gates",
        "prompt_tunings",
    }
)
# A parameter that no other library has, by container.
_OWN = {"adapters": ("adapter_down.", "adapter_up."), "loras": ("lora_A", "lora_B", "vera_"), "refts": ("units.",)}


@dataclass(frozen=True, slots=True)
class AdapterTensorName:
    """A parsed tensor name.

    Attributes:
        name: As in the file.
        holder: The module that holds the container, by the path in the library's network.
        container: One of `CONTAINERS`.
        parameter: The rest, after the adapter's name.
    """

    name: str
    holder: str
    container: str
    parameter: str


def read_keys(names: Iterable[str], adapter: str) -> list[AdapterTensorName]:
    """Parse the names that belong to one adapter and leave out the others.

    Args:
        names: As in the files.
        adapter: The adapter's name.
    """
    keys = [_read_key(name, adapter) for name in sorted(names)]
    return [key for key in keys if key is not None]


def containers(names: Iterable[str]) -> frozenset[str]:
    """Return the containers whose tensors occur, whatever the adapter's name."""
    occurring: set[str] = set()
    for name in names:
        parts = name.split(".")
        for at, part in enumerate(parts[:-2]):
            if part in _OWN and ".".join(parts[at + 2 :]).startswith(_OWN[part]):
                occurring.add(part)
    return frozenset(occurring)


def _read_key(name: str, adapter: str) -> AdapterTensorName | None:
    parts = name.split(".")
    for at, part in enumerate(parts[:-2]):
        if part in CONTAINERS and parts[at + 1] == adapter:
            return AdapterTensorName(name, ".".join(parts[:at]), part, ".".join(parts[at + 2 :]))
    return None
