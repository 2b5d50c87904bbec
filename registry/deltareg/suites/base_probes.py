"""The general probe set of a base, drawn once, on which every delta on it is compared.

It is drawn from the corpus in `general/`, seeded by the base's own identity. So two bases have
different texts, nobody chooses them, and every draw for a base gives the same. The document holds
the texts themselves and does not change when a later release brings another corpus.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, cast

from pydantic import TypeAdapter, ValidationError

from deltareg.digest import Digest, sha256_of
from deltareg.documents.json_values import is_object
from deltareg.documents.strict_json import parse_object
from deltareg.errors import InvalidInput
from deltareg.identity.manifest import canonical_json

Modality = Literal["text", "image", "audio"]
FORMAT = 1
CHECKS_ON_THEM = frozenset({"general_perplexity", "special_tokens", "class_entropy", "embedding_spread", "batching"})
"""The checks that go by the general probes of the base, and by its own figures on them."""
_ENGLISH, _OTHERS, _PROGRAMS, _CHATS = 2, 6, 4, 2  # rows: fourteen, of twelve tokens each
_IMAGES = _SOUNDS = 6
_CONFIG_MARKS: Mapping[Modality, tuple[str, ...]] = {
    "image": ("patch_size", "image_size", "vision_config"),
    "audio": ("num_mel_bins", "conv_kernel", "audio_config", "feature_projection_input_dim"),
    "text": ("vocab_size",),
}


@dataclass(frozen=True, slots=True)
class ProbeText:
    """A text of a probe set.

    Attributes:
        kind: `text`, `code` or `chat`.
        name: Its language, natural or of programming; `chat` for a chat.
        text: The text, or the user's message in a chat.
        answer: In a chat, the assistant's message; the base's own template joins the two.
    """

    kind: Literal["text", "code", "chat"]
    name: str
    text: str
    answer: str = ""


@dataclass(frozen=True, slots=True)
class BaseProbes:
    """The general probe set of a base.

    Attributes:
        corpus: Digest of the corpus that it was drawn from.
        modalities: The kinds of input that the base takes, as far as its config shows.
        texts: Its texts.
        seed: The seed of images and sounds, which are computed when they are needed.
        images: How many images.
        sounds: How many sounds.
    """

    corpus: str
    modalities: tuple[Modality, ...]
    texts: tuple[ProbeText, ...]
    seed: int
    images: int = _IMAGES
    sounds: int = _SOUNDS

    def encode(self) -> bytes:
        """Encode it as canonical JSON."""
        fields = TypeAdapter(BaseProbes).dump_python(self, mode="json")
        return canonical_json({"format": FORMAT, **fields})

    @property
    def digest(self) -> Digest:
        """The digest of the document."""
        return sha256_of(self.encode())

    @classmethod
    def decode(cls, raw: bytes) -> "BaseProbes":
        """Read the output of `encode`.

        Raises:
            InvalidInput: It is not a probe set, or is one of a later release.
        """
        try:
            fields = parse_object(raw, what="the probe set of a base")
            if fields.pop("format", None) != FORMAT:
                raise InvalidInput(
                    "the base's probe set is of another release",
                    fix="run a worker of the server's release: deltareg version",
                )
            return TypeAdapter(cls).validate_python(fields)
        except (ValidationError, ValueError, TypeError, AttributeError) as error:
            raise InvalidInput(f"this is no probe set of a base: {str(error)[:200]}") from error


def draw(identity: str, config: Mapping[str, object]) -> BaseProbes:
    """Draw the probe set of a base.

    Args:
        identity: The identity of the base, which seeds the draw.
        config: Its `config.json`.
    """
    raw = _corpus_bytes()
    number = int.from_bytes(bytes.fromhex(sha256_of(identity.encode()).hex)[:8], "big")
    generator = random.Random(number)  # noqa: S311  # repeatable, and nothing is kept secret by it
    return BaseProbes(str(sha256_of(raw)), modalities_of(config), tuple(_texts(generator)), number % 2**31)


def modalities_of(config: Mapping[str, object]) -> tuple[Modality, ...]:
    """Return the kinds of input of a network by its config; text if nothing shows otherwise."""
    parts = [config, *(part for part in config.values() if is_object(part))]
    keys = {key for part in parts for key in part}
    modalities: tuple[Modality, ...] = tuple(name for name, marks in _CONFIG_MARKS.items() if keys.intersection(marks))
    return modalities or ("text",)


def _texts(chosen: random.Random) -> list[ProbeText]:
    corpus = _corpus()
    languages = _by_class(corpus["text"])
    english = chosen.sample(languages.pop("en"), _ENGLISH)
    texts = [ProbeText("text", "en", text) for text in english]
    language_names = sorted(chosen.sample(sorted(languages), _OTHERS))
    texts += [ProbeText("text", name, chosen.choice(languages[name])) for name in language_names]
    programs = _by_class(corpus["code"])
    program_names = sorted(chosen.sample(sorted(programs), _PROGRAMS))
    texts += [ProbeText("code", name, chosen.choice(programs[name])) for name in program_names]
    chats = chosen.sample(corpus["chat"], _CHATS)
    return [*texts, *(ProbeText("chat", "chat", one["user"], one["assistant"]) for one in chats)]


def _by_class(entries: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for entry in entries:
        texts.setdefault(entry["class"], []).append(entry["text"])
    return texts


@cache
def _corpus_bytes() -> bytes:
    return (files("deltareg") / "suites" / "general" / "corpus.json").read_bytes()


@cache
def _corpus() -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(_corpus_bytes()))
