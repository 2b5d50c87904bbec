"""The configs of the library's prefix tuning and prompt tuning."""

from dataclasses import dataclass

from deltareg.delta.layouts.adapterhub.bottleneck_config import read_activation
from deltareg.delta.layouts.adapterhub.config import layer_numbers
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.maths.formula import Function


@dataclass(frozen=True, slots=True)
class AdapterPrefixConfig:
    """Settings of a prefix config.

    Attributes:
        length: How many keys and values are inserted.
        narrow: The narrow side of the network that makes them.
        function: Its activation.
        is_flat: Whether they are stored as they are, without such a network.
        encoder: Whether an encoder beside a decoder has them.
        cross: Whether attentions to the encoder have them.
        leaves_out: Numbers of layers without one.
        gates: How many gates are on them: none, one for keys and values, or one each.
    """

    length: int
    narrow: int
    function: Function | None
    is_flat: bool
    encoder: bool
    cross: bool
    leaves_out: tuple[int, ...]
    gates: int


@dataclass(frozen=True, slots=True)
class PromptLength:
    """Settings of a prompt config.

    Attributes:
        length: How many vectors it has.
    """

    length: int


def read_prefix(fields: Fields) -> AdapterPrefixConfig:
    """Read the method's fields; refusals are recorded in `fields`."""
    has_gate = fields.flag("use_gating")
    is_shared = fields.flag("shared_gating", default=True)
    return AdapterPrefixConfig(
        length=fields.integer("prefix_length", 30),
        narrow=fields.integer("bottleneck_size", 512),
        function=read_activation(fields, "non_linearity"),
        is_flat=fields.flag("flat"),
        encoder=fields.flag("encoder_prefix", default=True),
        cross=fields.flag("cross_prefix", default=True),
        leaves_out=layer_numbers(fields, "leave_out"),
        gates=0 if not has_gate else 1 if is_shared else 2,
    )


def read_prompt(fields: Fields) -> PromptLength:
    """Read the method's fields; refusals are recorded in `fields`."""
    fields.ignore("prompt_init", "prompt_init_text", "random_uniform_scale")
    if fields.value("combine") not in {None, "prefix"}:
        fields.refuse("combine", "is not prefix: a prompt after the first token is not supported")
    return PromptLength(fields.integer("prompt_length", 10))
