"""A user's data as a base takes it: chats by its own template, images by its own processor."""

# transformers is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from transformers import AutoImageProcessor

from deltareg.documents.json_values import is_object
from deltareg.errors import InvalidInput, Misconfigured
from deltareg_verify.engine.torch_engine.load import load_tokenizer

Turns = Sequence[tuple[str, str]]
_GREY = "L"  # what Pillow calls it
_AT_ONCE = 16
_MOST_TOKENS = 512


def render_chats(base: Path, chats: Sequence[Turns]) -> list[tuple[str, str]] | None:
    """Render chats by the base's own template: everything before the last turn, and that turn.

    None for a base without a template.

    Raises:
        InvalidInput: The template refuses a chat.
    """
    tokenizer = load_tokenizer(base)
    if tokenizer is None or not tokenizer.chat_template:
        return None
    begin = str(tokenizer.bos_token or "")
    is_marked = bool(begin) and _marks(tokenizer, begin)
    pairs: list[tuple[str, str]] = []
    for number, turns in enumerate(chats, 1):
        messages = [{"role": who, "content": content} for who, content in turns]
        try:
            whole = str(tokenizer.apply_chat_template(messages, tokenize=False))
            before = str(tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True))
        except Exception as error:  # a template raises what it likes
            raise InvalidInput(
                f"row {number}: the chat template of the base refuses it: {str(error)[:200]}",
                fix="write turns as the template wants them, such as user and assistant in turn",
            ) from error
        answer = whole.removeprefix(before) if whole.startswith(before) else turns[-1][1]
        # The tokenizer puts its own mark before a text; two of them are not what training saw.
        pairs.append((before.removeprefix(begin) if is_marked else before, answer))
    return pairs


def read_images(base: Path, files: Sequence[str]) -> NDArray[np.float32]:
    """Read images through the base's processor: (n, channels, height, width).

    Raises:
        InvalidInput: The base has no processor, or a file is no image.
        Misconfigured: Pillow is not installed.
    """
    if not (base / "preprocessor_config.json").is_file():
        raise InvalidInput(
            f"{base} has no preprocessor_config.json, so nobody knows how it takes images",
            fix="save the processor beside the model: processor.save_pretrained(folder)",
        )
    processor = AutoImageProcessor.from_pretrained(base, local_files_only=True)
    mode = _GREY if _channels(base) == 1 else "RGB"
    parts = [
        np.asarray(processor(images=batch, return_tensors="np")["pixel_values"], np.float32)
        for batch in _read_images(files, mode)
    ]
    return np.concatenate(parts)


def _channels(base: Path) -> int | None:
    """Return how many colour channels a base takes; None where its configuration does not say."""
    path = base / "config.json"
    config: object = json.loads(path.read_bytes()) if path.is_file() else {}
    if not is_object(config):
        return None
    inner = config.get("vision_config")
    count = (inner if is_object(inner) else config).get("num_channels")
    return count if isinstance(count, int) else None


def token_rows(base: Path, texts: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Tokenize texts, padded to one length.

    Raises:
        InvalidInput: The base has no tokenizer.
    """
    tokenizer = load_tokenizer(base)
    if tokenizer is None:
        raise InvalidInput(f"{base} has no tokenizer", fix="save it beside the model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    most = min(int(tokenizer.model_max_length or _MOST_TOKENS), _MOST_TOKENS)
    encoded = tokenizer(list(texts), padding=True, truncation=True, max_length=most, return_tensors="np")
    return {name: np.asarray(encoded[name], np.int64) for name in ("input_ids", "attention_mask") if name in encoded}


def _marks(tokenizer: Any, begin: str) -> bool:  # noqa: ANN401  # transformers' own class
    """Return whether the tokenizer puts a begin token before every text by itself."""
    ids = tokenizer("a")["input_ids"]
    return bool(ids) and ids[0] == tokenizer.convert_tokens_to_ids(begin)


def _read_images(files: Sequence[str], mode: str) -> Iterator[list[object]]:
    try:
        pillow = cast(Any, importlib.import_module("PIL.Image"))
    except ImportError as error:
        raise Misconfigured("reading images takes Pillow", fix="pip install pillow") from error
    for start in range(0, len(files), _AT_ONCE):
        batch: list[object] = []
        for name in files[start : start + _AT_ONCE]:
            try:
                with pillow.open(name) as image:
                    batch.append(image.convert(mode))
            except (OSError, ValueError) as error:
                raise InvalidInput(f"{name} is no image: {error}", fix="leave it out") from error
        yield batch
