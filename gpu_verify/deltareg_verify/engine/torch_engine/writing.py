"""Writes by the library's own loop: text, transcripts, answers about an image.

Each step of an encoder-decoder, and of a network that sees, passes its forward something other than
the step before; the library knows what for every class of its own.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import GenerationConfig, PreTrainedModel

from deltareg.errors import InvalidInput

_SETTINGS = "generation_config.json"
# Whatever a base's settings say, two runs are to give the same.
_GREEDY: Mapping[str, object] = {"do_sample": False, "num_beams": 1, "use_cache": False}


def can_write(module: nn.Module) -> bool:
    """Return whether a network writes tokens one after another."""
    return isinstance(module, PreTrainedModel) and module.can_generate()


def load_settings(path: Path) -> GenerationConfig | None:
    """Read a base's generation settings: tokens that end, begin or never come; None without any."""
    if not (path / _SETTINGS).is_file():
        return None
    settings: GenerationConfig = GenerationConfig.from_pretrained(path, local_files_only=True)
    return settings


def write(
    module: nn.Module, inputs: Mapping[str, torch.Tensor], count: int, *, settings: GenerationConfig | None
) -> list[list[int]]:
    """Continue rows of inputs greedily; returns the tokens after each, its end token included.

    Args:
        module: A network that can write.
        inputs: By parameter of its forward, rows of one length.
        count: How many tokens at most for each.
        settings: The base's settings; None takes those of its config.

    Raises:
        InvalidInput: The library does not write from such inputs.
    """
    assert isinstance(module, PreTrainedModel)
    own_settings = module.generation_config
    generation_settings = module.generation_config = settings or own_settings
    generate = cast("Callable[..., object]", module.generate)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of settings for sampling, which are not used
            written = generate(**inputs, **_GREEDY, max_new_tokens=count)
    except (ValueError, TypeError, IndexError, KeyError) as error:
        message = f"{type(module).__name__} does not write from {', '.join(inputs)}: {error}"
        raise InvalidInput(message[:300]) from error
    finally:
        module.generation_config = own_settings
    tokens = written["sequences"] if isinstance(written, Mapping) else written
    rows = cast("list[list[int]]", cast("torch.Tensor", tokens).tolist())
    if module.config.is_encoder_decoder:  # some give the mark that their decoder starts from
        starts = generation_settings.decoder_start_token_id
        starts = generation_settings.bos_token_id if starts is None else starts  # as `generate` takes it
        rows = [row[1:] if row and row[0] == starts else row for row in rows]
    elif (prompt_ids := inputs.get("input_ids")) is not None:
        rows = [row[prompt_ids.shape[1] :] for row in rows]
    return rows if len(rows) == 1 else [_without_padding(row, generation_settings) for row in rows]


def _without_padding(row: list[int], settings: GenerationConfig) -> list[int]:
    """Cut a row after its first end token: the rest waits for longer rows beside it."""
    eos = settings.eos_token_id
    ends = {eos} if isinstance(eos, int) else set(eos or ())
    last = next((at for at, token in enumerate(row) if token in ends), len(row))
    return row[: last + 1]
