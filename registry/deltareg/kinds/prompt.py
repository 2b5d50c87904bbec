"""Prompts: vectors that stand before the embedded tokens.

Prompt tuning (Lester et al. 2021, arXiv 2104.08691), P-tuning (Liu et al. 2021, arXiv 2103.10385)
and CPT (Blau et al. 2024, arXiv 2410.17222). P-tuning makes its vectors with an encoder and CPT
adds a bounded change to known tokens, but peft saves what comes of it, so all three are read alike.
With an encoder and a decoder there are 2n rows: the encoder gets the first n, and nothing reads the
others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from deltareg.errors import Problem, Refused
from deltareg.formula import Array, Ops, Tensor
from deltareg.kind import BaseView, DeltaFiles, DeltaKind, Match, PrefixInsert
from deltareg.peft_layout.config import CONFIG_FILE, peft_type
from deltareg.peft_layout.prompt_kind import PromptKind, Sizes, refuse_base, refuse_shape
from deltareg.sites.attention import text_config


@dataclass(frozen=True, slots=True)
class Rows:
    """The first rows of a tensor.

    Attributes:
        tensor: (rows, width).
        count: How many.
    """

    tensor: Tensor
    count: int

    def make(self, ops: Ops) -> tuple[Array, ...]:
        """Give them, (count, width)."""
        return (ops.load(self.tensor, 0, self.count),)


def inserts(sizes: Sizes, vectors: Tensor, base: BaseView) -> Sequence[PrefixInsert]:
    """Put the vectors before the tokens that the network is given."""
    wanted = (sizes.tokens * sizes.stacks, sizes.width or vectors.shape[-1])
    if vectors.shape != wanted:
        raise refuse_shape(vectors, wanted, "the config asks for that many tokens and numbers")
    if wanted[1] not in _widths(base):
        told = f"no embedding of the base has vectors of {wanted[1]} numbers"
        raise refuse_base("shape", told, "check the base")
    consumes = {vectors.name: "prompt"}
    return [PrefixInsert("tokens", "", 0, Rows(vectors, sizes.tokens), consumes)]


def _widths(base: BaseView) -> set[int]:
    """Give the widths of the base's token embeddings: what has a row for every token."""
    rows = text_config(base).get("vocab_size")
    shapes = (record.shape for record in base.tensors.values())
    return {shape[1] for shape in shapes if len(shape) == 2 and shape[0] == rows}


class MultitaskPrompt:
    """A prompt that is multiplied, row by row, with one for the task (arXiv 2303.02861).

    Which task is an input of the network's, so the delta alone does not say what it does.
    """

    name: ClassVar[str] = "prompt"
    layout: ClassVar[str] = "peft MULTITASK_PROMPT_TUNING"

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        """By `peft_type`."""
        named = f"peft {peft_type(files)}"
        return Match(cls.name, f"peft_type in {CONFIG_FILE}", 3) if named == cls.layout else None

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> DeltaKind:
        """Refuse it."""
        told = "MULTITASK_PROMPT_TUNING takes the number of a task with every input, which no"
        fix = "multiply the prompt with its task's part and save that as PROMPT_TUNING"
        raise Refused([Problem("not_self_contained", f"{told} network here is given", fix=fix)])


PROMPT_TUNING = PromptKind(
    "prompt",
    "",
    "PROMPT_TUNING",
    (
        "prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path",
        "tokenizer_kwargs",
    ),
    inserts,
)  # fmt: skip
P_TUNING = PromptKind(
    "prompt",
    "p_tuning",
    "P_TUNING",
    (
        "encoder_reparameterization_type", "encoder_hidden_size", "encoder_num_layers",
        "encoder_dropout",
    ),
    inserts,
)  # fmt: skip
CPT = PromptKind(
    "prompt",
    "cpt",
    "CPT",
    (
        "cpt_token_ids", "cpt_mask", "cpt_tokens_type_mask", "opt_weighted_loss_type",
        "opt_loss_decay_factor", "opt_projection_epsilon", "opt_projection_format_epsilon",
        "tokenizer_name_or_path",
    ),
    inserts,
)  # fmt: skip
