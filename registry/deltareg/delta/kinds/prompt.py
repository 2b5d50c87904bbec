"""Prompts: vectors that stand before the embedded tokens.

Prompt tuning (Lester et al. 2021, arXiv 2104.08691), P-tuning (Liu et al. 2021, arXiv 2103.10385)
and CPT (Blau et al. 2024, arXiv 2410.17222). P-tuning makes its vectors with an encoder and CPT
adds a bounded change to known tokens, but peft saves what comes of it, so all three are read alike.
With an encoder and a decoder there are 2n rows: the encoder gets the first n, and nothing reads the
others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deltareg.delta.kind import BaseView, PrefixInsert
from deltareg.delta.layouts.peft.prompt_kind import PromptKind, PromptSizes, refuse_base, refuse_shape
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.sites.attention import text_config


@dataclass(frozen=True, slots=True)
class LeadingRows:
    """The first rows of a tensor.

    Attributes:
        tensor: (rows, width).
        count: How many.
    """

    tensor: Tensor
    count: int

    def make(self, ops: Ops) -> tuple[Array, ...]:
        """Return the leading rows, (count, width)."""
        return (ops.load(self.tensor, 0, self.count),)


def inserts(sizes: PromptSizes, vectors: Tensor, base: BaseView) -> Sequence[PrefixInsert]:
    """Insert the vectors before the tokens of the network's input."""
    expected = (sizes.tokens * sizes.stacks, sizes.width or vectors.shape[-1])
    if vectors.shape != expected:
        raise refuse_shape(vectors, expected, "the config asks for that many tokens and numbers")
    if expected[1] not in _widths(base):
        message = f"no embedding of the base has vectors of {expected[1]} numbers"
        raise refuse_base("shape", message, "check the base")
    consumes = {vectors.name: "prompt"}
    return [PrefixInsert("tokens", "", 0, LeadingRows(vectors, sizes.tokens), consumes)]


def _widths(base: BaseView) -> set[int]:
    """Return the widths of the base's token embeddings: weights with a row for every token."""
    rows = text_config(base).get("vocab_size")
    shapes = (record.shape for record in base.tensors.values())
    return {shape[1] for shape in shapes if len(shape) == 2 and shape[0] == rows}


PROMPT_TUNING = PromptKind(
    "prompt",
    "",
    "PROMPT_TUNING",
    ("prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs"),
    inserts,
)
P_TUNING = PromptKind(
    "prompt",
    "p_tuning",
    "P_TUNING",
    ("encoder_reparameterization_type", "encoder_hidden_size", "encoder_num_layers", "encoder_dropout"),
    inserts,
)
CPT = PromptKind(
    "prompt",
    "cpt",
    "CPT",
    (
        "cpt_token_ids",
        "cpt_mask",
        "cpt_tokens_type_mask",
        "opt_weighted_loss_type",
        "opt_loss_decay_factor",
        "opt_projection_epsilon",
        "opt_projection_format_epsilon",
        "tokenizer_name_or_path",
    ),
    inserts,
)
