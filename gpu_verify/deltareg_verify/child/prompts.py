"""How a prompt reaches a base or a version: as plain text, or as a user's turn in a chat.

A version's own tokenizer and template take precedence over its base's, as when its folder is
served.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deltareg.documents.json_values import is_list, is_object, parse_json
from deltareg.errors import InvalidInput
from deltareg.wire.findings import GIVEN_MOST, plain_text
from deltareg.words import PromptForm, TemplateOf
from deltareg_verify.engine.continuing import Inputs
from deltareg_verify.engine.torch_engine import BaseTokenizer, load_tokenizer, template_in, write_chat

_SETTINGS, _CONFIG = "generation_config.json", "config.json"
_CUT = "\N{HORIZONTAL ELLIPSIS}"
_NO_TEMPLATE = "no chat template comes with it"
_REFUSED = "the chat template {} {}"
_WHOSE = {"version": "that this version brings", "base": "of the base"}


@dataclass(frozen=True, slots=True)
class PromptTokenizer:
    """How one side encodes texts, and how it formats chats.

    Attributes:
        tokenizer: The version's own, or the base's.
        template: The chat template; empty without one.
        template_of: Which side the template is from.
    """

    tokenizer: BaseTokenizer
    template: str
    template_of: TemplateOf


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the network receives it.

    Attributes:
        ids: Its tokens.
        template: Whose chat template formatted it; empty for plain text.
        is_cut: Whether it was cut because the network takes no more.
    """

    ids: tuple[int, ...]
    template: TemplateOf
    is_cut: bool

    @property
    def inputs(self) -> Inputs:
        """The same as inputs of a network that does not continue them."""
        row = np.asarray([self.ids], np.int64)
        return {"input_ids": row, "attention_mask": np.ones_like(row)}

    def decode_text(self, tokenizer: BaseTokenizer) -> str:
        """Decode it as text with all its special tokens, or the end of it."""
        whole = plain_text(tokenizer.decode(self.ids, special=True))
        return whole if len(whole) <= GIVEN_MOST else _CUT + whole[1 - GIVEN_MOST :]


def words_of(base: BaseTokenizer, base_folder: Path, version: Path | None) -> PromptTokenizer:
    """Return how the base, or a version of it, encodes texts.

    Args:
        base: The base's tokenizer.
        base_folder: The base's files.
        version: The version's files; None for the base itself.
    """
    own = None if version is None else _own_tokenizer(version)
    tokenizer = base if own is None else BaseTokenizer(own.wrapped, base.most)
    template = "" if version is None else template_in(version)
    if template:
        return PromptTokenizer(tokenizer, template, "version")
    return PromptTokenizer(tokenizer, template_in(base_folder), "base")


def give(words: PromptTokenizer, text: str, form: PromptForm, *, room: int, takes_end: bool) -> EncodedPrompt:
    """Encode a prompt for a network.

    Args:
        words: How its side encodes texts.
        text: The prompt.
        form: The requested form.
        room: How many tokens the network takes.
        takes_end: Whether to keep the end of a prompt that is too long, not the beginning.

    Raises:
        InvalidInput: There is no template, or it refuses the prompt.
    """
    if form == "chat" and not words.template:
        raise InvalidInput(_NO_TEMPLATE)
    if form == "plain" or not words.template:
        whole = words.tokenizer.encode(text)
        ids = whole[-room:] if takes_end else words.tokenizer.begin_of(text, room)
        return EncodedPrompt(tuple(ids), "", len(whole) > len(ids))
    try:
        whole = write_chat(words.tokenizer.wrapped, words.template, text)
    except InvalidInput as error:
        message = _REFUSED.format(_WHOSE[words.template_of], error.message)
        raise InvalidInput(message) from error
    ids = whole[-room:] if takes_end else whole[:room]
    return EncodedPrompt(tuple(ids), words.template_of, len(whole) > len(ids))


def ends_of(folder: Path, tokenizer: BaseTokenizer) -> frozenset[int]:
    """Return the tokens that end what a base writes: a chat has several, of a turn and of all."""
    documents = (read_settings(folder / name) for name in (_SETTINGS, _CONFIG))
    eos = next((one["eos_token_id"] for one in documents if one.get("eos_token_id")), None)
    token_ids: Sequence[object] = eos if is_list(eos) else [eos]
    return frozenset(token for token in (*token_ids, tokenizer.end) if isinstance(token, int))


def read_settings(file: Path) -> dict[str, object]:
    """Read a JSON document of a base; empty where there is none."""
    if not file.is_file():
        return {}
    try:
        document: object = parse_json(file.read_bytes())
    except ValueError:
        return {}
    return document if is_object(document) else {}


def _own_tokenizer(folder: Path) -> BaseTokenizer | None:
    """Load the tokenizer that a version brings; None where it cannot be read."""
    try:
        tokenizer = load_tokenizer(folder)
    except Exception:  # noqa: BLE001  # its libraries raise what they like
        return None
    return None if tokenizer is None else BaseTokenizer(tokenizer, 0)
