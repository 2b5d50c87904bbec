"""A prompt as a user's turn of a chat, by the template of a base or a version.

A template is a stranger's program. Only transformers runs it, in Jinja's sandbox, inside the
worker's own sandbox.
"""

# transformers is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import InvalidInput

_FILE, _DEFAULT = "chat_template.jinja", "default"
_SETTINGS = ("tokenizer_config.json", "chat_template.json")  # the second is that of a processor
_MOST_CHARACTERS = 200_000
_MESSAGE_CHARACTERS = 300


def template_in(folder: Path) -> str:
    """Read the chat template in a folder; empty where there is none."""
    if (folder / _FILE).is_file():
        return (folder / _FILE).read_text("utf-8", "replace")
    templates = (_read_template(folder / name) for name in _SETTINGS if (folder / name).is_file())
    return next(filter(None, templates), "")


def write_chat(tokenizer: PreTrainedTokenizerBase, template: str, text: str) -> list[int]:
    """Format a text as a user's turn by a template, up to where the answer begins, as tokens.

    Raises:
        InvalidInput: The template refuses it, or makes it unreasonably long.
    """
    try:
        chat = _render_chat(tokenizer, template, text)
    except Exception as error:  # a template raises what it likes
        message = f"{type(error).__name__}: {error}"[:_MESSAGE_CHARACTERS]
        raise InvalidInput(f"refuses the prompt: {message}") from error
    if len(chat) > _MOST_CHARACTERS:
        raise InvalidInput(f"makes {len(chat):,} characters of the prompt")
    # A template writes the marks itself that a tokenizer puts around a text.
    return [int(token) for token in tokenizer(chat, add_special_tokens=False)["input_ids"]]


def _render_chat(tokenizer: PreTrainedTokenizerBase, template: str, text: str) -> str:
    """Render the chat; for a network that sees, messages have parts, which its templates expect."""
    plain = _apply(tokenizer, template, text)
    if text.strip() in plain:
        return plain
    try:
        parted = _apply(tokenizer, template, [{"type": "text", "text": text}])
    except Exception:  # noqa: BLE001  # a template that knows no parts is as good as before
        return plain
    return parted if text.strip() in parted else plain


def _apply(tokenizer: PreTrainedTokenizerBase, template: str, content: object) -> str:
    turns: Any = [{"role": "user", "content": content}]  # the library knows texts alone
    return str(tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False, add_generation_prompt=True))


def _read_template(file: Path) -> str:
    """Read the template of a document; of several named ones the default."""
    try:
        document: object = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return ""
    template = document.get("chat_template") if is_object(document) else None
    if is_list(template):
        template = _by_name(template)
    return template if isinstance(template, str) else ""


def _by_name(found: Sequence[object]) -> object:
    by_template = {one.get("name"): one.get("template") for one in found if is_object(one)}
    return by_template.get(_DEFAULT)
