"""A kind of prompt learning that peft writes: one tensor of vectors, and heads saved whole.

All of them store their vectors under the same name, `prompt_embeddings`; only `peft_type` tells
them apart. Names of modules saved beside it begin with `base_model.`, one component less than
those of the kinds that adapt modules.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from deltareg.delta.kind import BaseView, DeltaFiles, Match, PrefixInsert, Tensors
from deltareg.delta.kind_value import DeltaOfValue
from deltareg.delta.layouts.peft.config import (
    CONFIG_FILE,
    Fields,
    adapter_config,
    missing_config,
    peft_source,
    peft_type,
)
from deltareg.delta.layouts.peft.keys import PREFIX, PeftTensorName, read_keys
from deltareg.delta.layouts.peft.modules import refuse_without_modules
from deltareg.delta.layouts.peft.saved import EffectPlan, SavedModules, plan_saved
from deltareg.delta.layouts.peft.targets import read_saved
from deltareg.delta.maths.formula import Tensor
from deltareg.errors import Problem, Refused
from deltareg.identity.manifest import Source
from deltareg.tensors.header import FLOAT_DTYPES

VECTORS = "prompt_embeddings"
_ROOT = "base_model."
_TWO_STACKS = "SEQ_2_SEQ_LM"


@dataclass(frozen=True, slots=True)
class PromptSizes:
    """Sizes of the vectors in a config; zero where it is silent.

    Attributes:
        tokens: How many virtual tokens there are.
        width: Numbers for each, and for a prefix in each layer for keys alone.
        heads: How many heads these are divided into.
        layers: How many layers there are.
        stacks: Two for an encoder with a decoder.
    """

    tokens: int
    width: int
    heads: int
    layers: int
    stacks: int


Inserts = Callable[[PromptSizes, Tensor, BaseView], Sequence[PrefixInsert]]


@dataclass(frozen=True)
class PromptKind:
    """One `peft_type` of prompt learning.

    Attributes:
        name: The kind.
        variant: The variant within the kind; may be empty.
        peft_type: As in the config.
        training: Fields that only say how the vectors were trained.
        inserts: Declares the effects of the vectors. Raises `Refused`.
        foldable: Never: vectors change no weight.
    """

    name: str
    variant: str
    peft_type: str
    training: tuple[str, ...]
    inserts: Inserts
    foldable: bool = field(default=False, init=False)

    @property
    def layout(self) -> str:
        """What it reads."""
        return f"peft {self.peft_type}"

    def recognise(self, files: DeltaFiles, base: BaseView) -> Match | None:
        """Recognise a folder by `peft_type` alone."""
        if peft_type(files) != self.peft_type:
            return None
        return Match(self.name, f'peft_type "{self.peft_type}" in {CONFIG_FILE}', 3)

    def parse(self, files: DeltaFiles, base: BaseView) -> "PromptDelta":
        """Read the config; see `deltareg.delta.kind.KindReader`."""
        config = adapter_config(files)
        if config is None:
            raise missing_config()
        fields = Fields(config)
        two = 2 if config.get("task_type") == _TWO_STACKS else 1
        sizes = PromptSizes(
            tokens=fields.integer("num_virtual_tokens", 0, least=1),
            width=fields.integer("token_dim", 0),
            heads=fields.integer("num_attention_heads", 0),
            layers=fields.integer("num_layers", 0),
            stacks=fields.integer("num_transformer_submodules", two),
        )
        if sizes.stacks != (2 if base.config.get("is_encoder_decoder") is True else 1):
            message = "does not say what the base is, an encoder with a decoder or one stack"
            fields.refuse("num_transformer_submodules", message)
        saved = read_saved(fields, task_type=config.get("task_type"))
        required = fields.texts("modules_to_save")
        fields.ignore(*self.training)
        fields.finish()
        return PromptDelta(self, sizes, SavedModules(saved, required), peft_source(config))


@dataclass(frozen=True)
class PromptDelta(DeltaOfValue[PromptKind]):
    """A delta of such a kind.

    Attributes:
        sizes: The sizes in its config.
        declared: The modules that are saved whole.
        source: The library and its version.
    """

    sizes: PromptSizes
    declared: SavedModules
    source: Source

    def config(self) -> dict[str, object]:
        """The sizes, and the modules that are saved whole."""
        sizes = self.sizes
        return {
            "num_virtual_tokens": sizes.tokens,
            "token_dim": sizes.width,
            "num_attention_heads": sizes.heads,
            "num_layers": sizes.layers,
            "num_transformer_submodules": sizes.stacks,
            "modules_to_save": sorted(self.declared.required),
        }

    def plan(self, tensors: Tensors, base: BaseView) -> EffectPlan:
        """Plan the vectors and the modules that are saved whole."""
        plan, vectors = EffectPlan(), tensors.get(VECTORS)
        if vectors is None:
            refuse_without_modules(plan, tensors, self.kind.peft_type)
            return plan
        if vectors.dtype not in FLOAT_DTYPES:
            plan.refuse("shape", f"{vectors.dtype} holds no vectors", VECTORS)
            return plan
        try:
            plan.effects += self.kind.inserts(self.sizes, vectors, base)
        except Refused as refused:
            plan.problems += refused.problems
        keys, odd = _saved_keys(name for name in tensors if name != VECTORS)
        plan_saved(plan, keys, self.declared, tensors=tensors, base=base, adapted=frozenset())
        for name in odd:
            message = f"its name says nothing to a {self.kind.peft_type}"
            plan.refuse("unexpected_tensors", message, name, "take it out")
        return plan


def refuse_shape(vectors: Tensor, wanted: Sequence[int], why: str) -> Refused:
    """Build the refusal of vectors whose shape is not the one that config and base require."""
    message = f"{list(vectors.shape)} is not {list(wanted)}: {why}"
    return Refused([Problem("shape", message, tensor=vectors.name)])


def refuse_base(code: str, message: str, fix: str = "") -> Refused:
    """Build the refusal of a base that has no place for the vectors."""
    return Refused([Problem(code, message, tensor=VECTORS, fix=fix)])


def _saved_keys(names: Iterable[str]) -> tuple[list[PeftTensorName], list[str]]:
    """Parse the names of saved modules; return them, and the names without meaning."""
    longer = {f"{PREFIX}{name.removeprefix(_ROOT)}": name for name in names}
    odd = [name for name in longer.values() if not name.startswith(_ROOT)]
    keys = read_keys(longer, frozenset())
    odd += [longer[name] for name in keys.unread if longer[name] not in odd]
    parsed = [replace(key, name=longer[key.name]) for key in keys.read.values()]
    return [key for key in parsed if key.name not in odd], odd
