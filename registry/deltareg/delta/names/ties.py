"""Which parameters of a network share a tensor, by the class that the base's config names.

Most files keep such a tensor once, under any of its names. An unknown class follows the rules of
its model type.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self, cast

from deltareg.delta.architectures import facts
from deltareg.delta.names.rules import NameRules

_TIES = "tie_word_embeddings"
_WRITERS = frozenset({"encoder-decoder", "vision-encoder-decoder", "speech-encoder-decoder"})
PARTS_OF: Mapping[str, Mapping[str, str]] = {
    **{name: {"encoder": "encoder", "decoder": "decoder"} for name in _WRITERS},
    "vision-text-dual-encoder": {"vision_model": "vision_config", "text_model": "text_config"},
}
"""Model types that are put together from two others: attribute of each -> where its config is."""
_READERS = frozenset({"blip-2", "instructblip", "instructblipvideo"})


@dataclass(frozen=True, slots=True)
class Ties:
    """Groups of names.

    Attributes:
        groups: Names that share one tensor, as the running network has them.
        is_of_class: Whether the class itself declares them, so that the list is complete.
        is_of_part: Whether only an inner network declares them, so that the class itself does not
            report them.
    """

    groups: tuple[tuple[str, ...], ...] = ()
    is_of_class: bool = False
    is_of_part: bool = False

    def with_undone(self, before: Self) -> Self:
        """Add the ties from before a config untied them: files may still keep such a tensor once."""
        groups = [{*group} for group in self.groups]
        undone = tuple(x for x in before.groups if not any({*x} <= group for group in groups))
        if not undone:
            return self
        return replace(self, groups=self.groups + undone, is_of_class=self.is_of_class or before.is_of_class)


def ties_of(architecture: str, config: Mapping[str, object], rules: NameRules) -> Ties:
    """Return the ties that hold for a base.

    Args:
        architecture: The class that its config names; may be empty.
        config: Its `config.json`.
        rules: The rules of its model type.
    """
    declared = facts().ties.get(architecture)
    pairs: list[tuple[str, str]] = []
    model_type = str(config.get("model_type"))
    if config.get(_TIES) is not False and (declared is not None or model_type not in _READERS):
        pairs += rules.tied if declared is None else declared.items()
    attribute, told_in = _language_model(model_type)
    inner = config.get(told_in) if attribute else None
    if isinstance(inner, dict):
        pairs += _inside(attribute, cast("dict[str, object]", inner))
    is_of_part = declared is None and bool(attribute)
    return Ties(tuple(_groups(pairs)), declared is not None or is_of_part, is_of_part)


def _language_model(model_type: str) -> tuple[str, str]:
    """Return the attribute of the language model with its head, and that of its config; or empty."""
    if model_type in _READERS:
        return "language_model", "text_config"
    return ("decoder", "decoder") if model_type in _WRITERS else ("", "")


def _inside(attribute: str, config: Mapping[str, object]) -> list[tuple[str, str]]:
    if config.get(_TIES) is False:
        return []
    name = facts().causal_lm.get(str(config.get("model_type")), "")
    tied = facts().ties.get(name, {})
    return [(f"{attribute}.{twin}", f"{attribute}.{stored}") for twin, stored in tied.items()]


def _groups(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    groups: list[set[str]] = []
    for pair in pairs:
        joined = [group for group in groups if group & {*pair}]
        groups = [group for group in groups if not group & {*pair}]
        groups.append(set(pair).union(*joined))
    return [tuple(sorted(group)) for group in groups]
