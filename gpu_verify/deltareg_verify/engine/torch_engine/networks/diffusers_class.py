"""Builds networks by diffusers: a UNet, a diffusion transformer, an autoencoder, a ControlNet.

The class is one that diffusers exports as a model, found by the name in the component's
`config.json`. It is built without values, and gets exactly those of the files.
"""

# diffusers has no types that checkers see; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
# pyright: reportPrivateImportUsage=false

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Protocol, cast

import torch
from torch import nn

from deltareg.errors import Inconclusive

CLASS_KEY = "_class_name"
_EXTRA = "pip install 'deltareg[diffusion]' where the worker runs"
_QUANTIZED = "quantization_config"
_WHOLE = "_keep_in_fp32_modules"  # where diffusers' own loader reads what stays in float32


class _Maker(Protocol):
    """A class of diffusers."""

    __name__: str

    def from_config(self, config: Mapping[str, object]) -> nn.Module: ...


def is_component(config: Mapping[str, object]) -> bool:
    """Return whether a config is that of a single model of diffusers."""
    return isinstance(config.get(CLASS_KEY), str) and "model_type" not in config


def warm() -> None:
    """Import what builds networks; a missing diffusers shows again when one is built.

    Its models import each other, so that one of them imports all.
    """
    with suppress(Inconclusive):
        _class_of("UNet2DConditionModel")


def make(config: Mapping[str, object], values: Mapping[str, torch.Tensor], dtype: torch.dtype) -> nn.Module:
    """Build the network that a component's config describes, with these values.

    Args:
        config: The component's `config.json`.
        values: By name within the component.
        dtype: The dtype to run in; what the class keeps in float32 stays in it.

    Raises:
        Inconclusive: diffusers is missing or has no such class, or the files hold other tensors.
    """
    kind = _class_of(str(config.get(CLASS_KEY)))
    if config.get(_QUANTIZED):
        raise Inconclusive(
            f"this {kind.__name__} is quantised, and only full precision is run",
            fix="register the base in full precision",
        )
    try:
        with _empty(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a config's retired keys
            module = kind.from_config(config)
    except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError) as error:
        raise _unloadable(kind.__name__, error) from error
    float32_names = cast("list[str] | str", getattr(kind, _WHOLE, None) or [])
    whole = [float32_names] if isinstance(float32_names, str) else float32_names
    _fill(module, {n: _as(v, dtype, is_kept=_is_kept(n, whole)) for n, v in values.items()})
    return module


def _class_of(name: str) -> _Maker:
    try:
        import diffusers  # dear and optional; only diffusion bases need it
    except ImportError as error:
        message = f"the base is a {name} of diffusers, which this worker lacks"
        raise Inconclusive(message, fix=_EXTRA) from error
    diffusers.utils.logging.set_verbosity_error()
    try:
        network_class = getattr(diffusers.models, name, None) if name.isidentifier() else None
    except (ImportError, RuntimeError) as error:  # it lacks a library of its own
        raise _unloadable(name, error) from error
    if not (isinstance(network_class, type) and issubclass(network_class, diffusers.ModelMixin)):
        raise Inconclusive(
            f"diffusers {diffusers.__version__} has no model {name[:80]!r}",
            fix="run it on a worker whose diffusers knows this class",
        )
    return cast(_Maker, network_class)


def _empty() -> AbstractContextManager[None]:
    """Create parameters without memory; computed buffers keep their values."""
    from accelerate import init_empty_weights  # comes with the same extra

    make_empty = cast("Callable[..., AbstractContextManager[None]]", init_empty_weights)
    return make_empty(include_buffers=False)


def _fill(module: nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Fill a network with its values.

    Raises:
        Inconclusive: Names or shapes differ.
    """
    name = type(module).__name__
    try:
        result = module.load_state_dict(dict(values), strict=False, assign=True)
    except RuntimeError as error:
        raise _unloadable(name, error) from error
    for verb, names in (("lack", result.missing_keys), ("have", result.unexpected_keys)):
        if names:
            raise Inconclusive(
                f"the files of the base {verb} {names[0]} ({len(names)} in all), and"
                f" {'so do not make' if verb == 'lack' else 'it is no part of'} a {name}",
                fix="save the base anew with the diffusers of today",
            )


def _is_kept(name: str, kept: list[str]) -> bool:
    """Return whether the class keeps a parameter in float32, as its own loader decides it."""
    return any(part in kept for part in name.split("."))


def _as(value: torch.Tensor, dtype: torch.dtype, *, is_kept: bool) -> torch.Tensor:
    if not value.is_floating_point():
        return value
    is_half = dtype in {torch.float16, torch.bfloat16}
    return value.to(torch.float32 if is_kept and is_half else dtype)


def _unloadable(name: str, error: Exception) -> Inconclusive:
    return Inconclusive(
        f"diffusers cannot make a {name} of the base: {str(error)[:400]}",
        fix="run it on a worker whose diffusers knows this class",
    )
