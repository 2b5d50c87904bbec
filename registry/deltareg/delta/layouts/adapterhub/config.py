"""`adapter_config.json` of the adapters library: a frame around the config of one method."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from deltareg.delta.kind import DeltaFiles
from deltareg.delta.layouts.adapterhub.interface import AdapterInterface, read_interface
from deltareg.delta.layouts.peft.config import CONFIG_FILE, Fields, adapter_config
from deltareg.delta.layouts.peft.marks import is_adapterhub
from deltareg.errors import Problem, Refused
from deltareg.identity.manifest import Source

# `hidden_size`, `model_class` and `model_name` say what it was trained on, in words that bind
# nothing: the base is bound by its fingerprint.
_FRAME = frozenset({"config", "hidden_size", "model_class", "model_name", "model_type", "name", "version"})
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class AdapterFrame:
    """The config without its method.

    Attributes:
        name: The adapter's name, a component of all its tensor names.
        model_type: The type of network that it was trained in; empty if the config does not say.
        source: The library and its version.
        interface: Where it was inserted, in a network that the library has no patch for; else None.
    """

    name: str
    model_type: str
    source: Source
    interface: AdapterInterface | None = None


def method_config(files: DeltaFiles) -> Mapping[str, object] | None:
    """Return the config of the method; None if the folder is not of this library."""
    if not is_adapterhub(files):
        return None
    inner = (adapter_config(files) or {}).get("config")
    return cast("Mapping[str, object]", inner) if isinstance(inner, dict) else None


def architecture(method: Mapping[str, object]) -> str:
    """Return the library's name of a method: `lora`, `reft`, …, or `bottleneck`, which it omits."""
    value = method.get("architecture")
    return "bottleneck" if value is None else str(value)


def read_frame(files: DeltaFiles) -> AdapterFrame:
    """Read the config's fields outside the method.

    Raises:
        Refused: `missing_config`, or `bad_config` for unknown fields.
    """
    config = adapter_config(files)
    if config is None or not is_adapterhub(files):
        raise missing_config()
    problems = [_bad(f"{field[:80]} is not known here") for field in sorted(config.keys() - _FRAME)]
    name = config.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST or "." in name:
        problems.append(_bad("name is no name of an adapter"))
    if not isinstance(config.get("config"), dict):
        problems.append(_bad("config is no object"))
    if problems:
        raise Refused(problems)
    model_type, version = config.get("model_type"), str(config["version"])
    return AdapterFrame(
        str(name),
        model_type if isinstance(model_type, str) else "",
        Source("adapters", version.removeprefix("adapters").strip(".")),
        read_interface(files),
    )


def missing_config() -> Refused:
    """Build the refusal of tensors without their config."""
    message = f"the tensors are those of the adapters library, and its {CONFIG_FILE} is missing"
    fix = f"put {CONFIG_FILE} beside the tensors; save_adapter() writes it"
    return Refused([Problem("missing_config", message, fix=fix)])


def method_fields(method: Mapping[str, object]) -> Fields:
    """Return a reader of the method's fields that refuses fields nobody reads.

    The method's name, its dropout and its initialisation count as read.
    """
    fields = Fields(method)
    fields.ignore("architecture", "dropout", "init_weights", "init_weights_seed", "stochastic_depth")
    precision = fields.value("dtype")
    if precision not in {None, "float32"}:
        fields.refuse("dtype", "is not float32: the library then computes in another precision")
    return fields


def layer_numbers(fields: Fields, name: str) -> tuple[int, ...]:
    """Read a list of distinct layer numbers; null is empty."""
    value = fields.value(name)
    if value is None:
        return ()
    entries = cast("list[object]", value) if isinstance(value, list) else [None]
    numbers = [n for n in entries if isinstance(n, int) and not isinstance(n, bool) and n >= 0]
    if len(set(numbers)) != len(entries):
        fields.refuse(name, "is not a list of distinct layer numbers")
    return tuple(sorted(numbers))


def _bad(told: str) -> Problem:
    fix = "save the adapter again with a current adapters library"
    return Problem("bad_config", f"{CONFIG_FILE}: {told}", fix=fix)
