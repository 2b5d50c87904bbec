"""Imports what is expensive before the fork."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import os
from contextlib import suppress
from importlib import import_module

import torch
import transformers
from transformers.utils import logging as transformers_logging

from deltareg_verify.engine.torch_engine.networks import diffusers_class


def warm() -> None:
    """Import what every run needs, without touching a device or starting a thread."""
    quieten()
    assert os.environ.get("HF_HUB_OFFLINE") == "1", "the zygote never asks a hub"
    assert not torch.cuda.is_initialized(), "a child cannot use a device that its parent opened"
    # Naming them imports them; transformers does so lazily.
    _ = (transformers.AutoConfig, transformers.AutoTokenizer, transformers.PreTrainedModel)
    with suppress(ImportError):  # optional
        import_module("peft")
    # A thousand patterns of names in files, which every process would compile for itself.
    with suppress(ImportError, AttributeError):  # of some release they are kept elsewhere
        import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping("llama")


def quieten() -> None:
    """Keep transformers' progress bars and notes off the streams that programs read."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def warm_for(model_type: str) -> None:
    """Import the network classes of an architecture; an unknown one fails later, in the child.

    Args:
        model_type: As transformers calls it, or the name of a class of diffusers.
    """
    if model_type[:1].isupper():
        diffusers_class.warm()
        return
    try:
        config = transformers.CONFIG_MAPPING[model_type]
        _ = transformers.MODEL_MAPPING[config]
    except (KeyError, ValueError, ImportError):
        return
