"""The one place that decides which library builds the network of a base."""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from deltareg.delta.kind import BaseView
from deltareg_verify.engine.torch_engine.networks import diffusers_class, pipeline, sentence_pooling, transformers_class
from deltareg_verify.engine.torch_engine.networks.loading import LoadReport

_FRESH_SEED = 0


def make_network(
    path: Path, view: BaseView, values: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> tuple[nn.Module, LoadReport]:
    """Build the network of a base, with these values, in evaluation mode.

    Args:
        path: The base's folder.
        view: Its names, shapes and configuration.
        values: By name in its files; values of the right dtype are used in place.
        dtype: The dtype to run in.

    Returns:
        The network, and the library's report on the values.

    Raises:
        Inconclusive: No library of this worker has a class for it, or a use for its values.
    """
    torch.manual_seed(_FRESH_SEED)
    module: nn.Module
    loading = LoadReport()
    if view.components:
        module = pipeline.make(path, view, values, dtype)
    elif diffusers_class.is_component(view.config):
        module = diffusers_class.make(view.config, values, dtype)
    else:
        folder = sentence_pooling.network_folder(path)
        network, loading = transformers_class.make(folder, values, dtype, view.config)
        sentence_pooling.add_pooling(network, path, values)
        module = network
    module.eval()
    return module, loading


def told_dtype(path: Path, view: BaseView) -> torch.dtype | None:
    """Return the dtype that a base's config names; None when it names none.

    Raises:
        Inconclusive: Its config cannot be read.
    """
    if view.components or diffusers_class.is_component(view.config):
        return None
    return transformers_class.told_dtype(sentence_pooling.network_folder(path))
