"""What peft saves whole beside its factors: heads, biases, embeddings, rows of tokens.

These come in several layouts: under their own name, as `modules_to_save`, as the `base_layer` that
an adapted embedding carries along, or, when the vocabulary was resized, as three copies at once.
What the config does not declare must be a copy of the base, or it is refused.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain

from deltareg.delta.kind import Addition, BaseCopy, BaseView, Effect, Tensors, WeightUpdate
from deltareg.delta.layouts.peft.keys import BASE_LAYER, ORIGINAL, SAVED, TOKENS, PeftTensorName
from deltareg.delta.layouts.peft.suffixes import Suffix
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.maths.updates import Replacement, RowExtension, RowReplacement
from deltareg.errors import Problem

_EMBEDDINGS = frozenset(
    {"embed_tokens", "lm_head", "wte", "word_embeddings", "shared", "embed_in", "embed_out", "tok_embeddings"}
)
_ROWS = "trainable_tokens_delta"
_USUAL_HEADS = frozenset({"classifier", "score", "qa_outputs"})
_HEADED = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")


@dataclass(frozen=True, slots=True)
class SavedModules:
    """The config's declarations of what is saved whole.

    Attributes:
        modules: Names of modules (or their ends) whose parameters are all replaced.
        required: Those among `modules` that the config itself names.
        bias: Which biases were trained.
        tokens: (module, row numbers) for embeddings of which some rows are replaced; no module
            means the input embedding.
        with_twins: Whether modules that share their weight with a saved one follow it.
        are_twins_saved: Whether these may be saved under their own name, and are then no copies.
    """

    modules: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    bias: str = "none"
    tokens: tuple[tuple[Suffix | None, tuple[int, ...]], ...] = ()
    with_twins: bool = False
    are_twins_saved: bool = False


@dataclass(slots=True)
class EffectPlan:
    """Effects and problems as they are found.

    Attributes:
        effects: In the order in which they apply.
        problems: What is wrong.
        grown: Weights that got more rows -> their new shape.
        originals: The same -> a tensor with their values before training, if there is one.
    """

    effects: list[Effect] = field(default_factory=list[Effect])
    problems: list[Problem] = field(default_factory=list[Problem])
    grown: dict[str, tuple[int, ...]] = field(default_factory=dict[str, "tuple[int, ...]"])
    originals: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def refuse(self, code: str, message: str, tensor: str, fix: str = "") -> None:
        """Record an error about a tensor."""
        self.problems.append(Problem(code, message, tensor=tensor, fix=fix))


def plan_saved(
    plan: EffectPlan,
    keys: Iterable[PeftTensorName],
    declared: SavedModules,
    *,
    tensors: Tensors,
    base: BaseView,
    adapted: frozenset[str],
) -> None:
    """Add the effects of tensors that are no factors to a plan.

    Args:
        plan: Receives effects and problems.
        keys: The names, without those of the kind's own markers.
        declared: The declarations of the config.
        tensors: The tensors; only their shapes are used.
        base: The base.
        adapted: Modules that have factors.
    """
    groups: dict[str, dict[str, PeftTensorName]] = defaultdict(dict)
    for key in keys:
        path = f"{key.module}.weight" if key.marker == TOKENS else key.path
        if key.marker in groups[path]:
            plan.refuse("unexpected_tensors", f"two tensors for {path}", key.name)
        groups[path][key.marker] = key
    present = _present(declared.modules, base)
    for path, group in groups.items():
        _Parameter(path, group, declared, tensors, base, plan, present).run(adapted)
    provided = {base.names.tensor(path) for path in groups}
    _require_modules(plan, declared, provided, present, groups, base)
    if declared.tokens and not any(TOKENS in group for group in groups.values()):
        plan.refuse("missing_tensors", "trainable_token_indices is set, and no rows came with it", "")


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One parameter and all tensors that belong to it."""

    path: str
    group: Mapping[str, PeftTensorName]
    declared: SavedModules
    tensors: Tensors
    base: BaseView
    plan: EffectPlan
    present: Mapping[str, list[str]]

    def run(self, adapted: frozenset[str]) -> None:
        """Add this parameter's effects, or record what is wrong."""
        own, saved = self.group.get(""), self.group.get(SAVED)
        if saved is not None or (own is not None and self._is_declared(own)):
            self._take_saved([key for key in (saved, own) if key is not None])
        elif own is not None:
            self._take_undeclared(own, adapted)
        layer = self.group.get(BASE_LAYER)
        if layer is not None and self._is_trained_bias(layer, adapted):
            self._replace(layer, {layer.name: "bias"})
        elif layer is not None:
            self._copy(layer)
        if ORIGINAL in self.group:
            self._copy(self.group[ORIGINAL])
        if TOKENS in self.group:
            self._rows(self.group[TOKENS])

    def _take_saved(self, keys: list[PeftTensorName]) -> None:
        key = keys[0]
        if not self._is_declared(key):
            self._refuse_override(key)
            return
        consumes = {key.name: "saved"} | {other.name: "saved_copy" for other in keys[1:]}
        self._replace(key, consumes)

    def _replace(self, key: PeftTensorName, consumes: dict[str, str]) -> None:
        tensor = self.tensors[key.name]
        weight, reads = self._weight()
        if not weight:
            self._add(key, consumes)
            return
        if not self._fits(key, weight):
            return
        grows = tensor.shape != self.base.tensors[weight].shape
        target = self._target(weight, reads)
        shape = tensor.shape if grows else None
        self.plan.effects.append(WeightUpdate(target, Replacement(tensor), consumes, reads, shape))
        if grows:
            self.plan.grown[target] = tensor.shape

    def _add(self, key: PeftTensorName, consumes: dict[str, str]) -> None:
        """Add a parameter that the base lacks: a new head, unless the base has it elsewhere."""
        names = self.base.names
        own = _module(names.canonical(self.path))
        like = [t for n in self.declared.modules if is_of(key.module, n) for t in self.present[n]]
        if like and all(_module(names.canonical(tensor)) != own for tensor in like):
            self.plan.refuse(
                "partial_application",
                f"the base has no {self.path}; its module of that name holds {like[0]}",
                key.name,
                "the delta was trained on another class of network, or its prefix is wrong",
            )
            return
        self.plan.effects.append(Addition(self.path, self.tensors[key.name], consumes))

    def _take_undeclared(self, key: PeftTensorName, adapted: frozenset[str]) -> None:
        weight, _ = self._weight()
        if self._is_trained_bias(key, adapted):
            self._replace(key, {key.name: "bias"})
        elif not weight:
            self._refuse_unknown(key)
        elif key.parameter == "weight" and key.module.rpartition(".")[2] in _EMBEDDINGS:
            self._copy(key)
        else:
            self._refuse_override(key)

    def _copy(self, key: PeftTensorName) -> None:
        """Record a copy of a base weight as evidence; further rows, if any, are new tokens."""
        tensor = self.tensors[key.name]
        weight, reads = self._weight()
        if not weight:
            self._refuse_unknown(key)
        elif self._fits(key, weight):
            height = self.base.tensors[weight].shape[0] if tensor.shape else 1
            target = self._target(weight, reads)
            self.plan.originals[target] = tensor
            if tensor.shape == self.base.tensors[weight].shape or key.marker == ORIGINAL:
                copy = BaseCopy(weight, tensor, {key.name: "base_copy"}, height)
                self.plan.effects.append(copy)
                return
            consumes, extend = {key.name: "new_rows"}, RowExtension(tensor, height)
            self.plan.effects += [
                BaseCopy(weight, tensor, {}, height),
                WeightUpdate(target, extend, consumes, reads, tensor.shape),
            ]
            self.plan.grown[target] = tensor.shape

    def _rows(self, key: PeftTensorName) -> None:
        tensor = self.tensors[key.name]
        weight, reads = self._weight()
        rows = self._declared_rows(key.module)
        if not rows or not weight or key.parameter != _ROWS:
            self._refuse_unknown(key)
            return
        target, shape = self._target(weight, reads), self.base.tensors[weight].shape
        grown = self.plan.grown.get(target)
        if tensor.shape != (len(rows), *shape[1:]) or max(rows) >= (grown or shape)[0]:
            message = f"{list(tensor.shape)} are not {len(rows)} rows of {weight} {list(shape)}"
            self.plan.refuse("shape", message, key.name)
            return
        update, consumes = RowReplacement(rows, tensor), {key.name: "token_rows"}
        self.plan.effects.append(WeightUpdate(target, update, consumes, reads, grown))

    def _declared_rows(self, module: str) -> tuple[int, ...]:
        """Return the rows that the config names for a module.

        The library takes every module whose path ends in these letters: `embeddings` also means
        `position_embeddings`.
        """
        tables = self.declared.tokens
        named = (rows for entry, rows in tables if entry is None or entry.matches(module))
        ended = (rows for entry, rows in tables if entry is not None and module.endswith(entry.text))
        return next(chain(named, ended), ())

    def _weight(self) -> tuple[str, str]:
        """Return the base's tensor (empty if it has none), and again if it is only shared."""
        names = self.base.names
        own = names.tensor(self.path)
        if own is not None:
            return own, ""
        twin = names.stored_twin(self.path) or ""
        return twin, twin

    def _target(self, weight: str, reads: str) -> str:
        return self.base.names.spelled_like(self.path, reads) if reads else weight

    def _fits(self, key: PeftTensorName, weight: str) -> bool:
        """Whether a tensor has the base's shape, more rows, or is a head of another size."""
        shape, own = self.tensors[key.name].shape, self.base.tensors[weight].shape
        if shape == own or (len(own) > 1 and shape[1:] == own[1:] and shape[0] > own[0]):
            return True
        is_head = self.base.names.is_head(self.base.names.canonical(weight))
        if is_head and self._is_declared(key) and len(shape) == len(own):
            return True
        self.plan.refuse("shape", f"{list(shape)} does not fit {weight} {list(own)}", key.name)
        return False

    def _is_declared(self, key: PeftTensorName) -> bool:
        if is_of(key.module, *self.declared.modules):
            return True
        twins = self.base.names.sharers(self.path) if self.declared.are_twins_saved else {}
        return any(is_of(_module(twin), *self.declared.modules) for twin in twins.values())

    def _is_trained_bias(self, key: PeftTensorName, adapted: frozenset[str]) -> bool:
        if key.parameter != "bias" or self.declared.bias == "none":
            return False
        return self.declared.bias == "all" or key.module in adapted

    def _refuse_override(self, key: PeftTensorName) -> None:
        self.plan.refuse(
            "undeclared_base_override",
            f"it would overwrite {self.path} of the base, and the config does not say so",
            key.name,
            "take it out, or name its module in modules_to_save",
        )

    def _refuse_unknown(self, key: PeftTensorName) -> None:
        self.plan.refuse(
            "unexpected_tensors",
            f"neither the base nor the config knows {self.path}",
            key.name,
            "take it out, or declare it in the config",
        )


def _present(modules: Iterable[str], base: BaseView) -> dict[str, list[str]]:
    """Return the base's parameters within each of these modules."""
    parameters: dict[str, list[str]] = {name: [] for name in modules}
    for tensor in base.tensors if parameters else ():
        spellings = {_module(tensor), _module(base.names.canonical(tensor))}
        if base.names.is_buffer(tensor) or not any(is_of(s, *parameters) for s in spellings):
            continue
        for name, inside in parameters.items():
            if any(is_of(spelling, name) for spelling in spellings):
                inside.append(tensor)
    return parameters


def _require_modules(
    plan: EffectPlan,
    declared: SavedModules,
    given: set[str | None],
    present: Mapping[str, list[str]],
    groups: Mapping[str, Mapping[str, PeftTensorName]],
    base: BaseView,
) -> None:
    for name in declared.required:
        lost = [tensor for tensor in present[name] if tensor not in given]
        if lost:
            message = f"modules_to_save names {name}, and no tensor for {lost[0]} came"
            plan.refuse("missing_tensors", message, lost[0], "save the delta again")
    modules = [key.module for group in groups.values() for key in group.values()]
    heads = declared.modules
    if _USUAL_HEADS.issuperset(heads) and base.names.architecture.endswith(_HEADED):
        return  # the library saves heads of these names unasked, and this class has another one
    if heads and not any(is_of(m, *heads) for m in modules) and not any(present.values()):
        message = f"none of {', '.join(heads)} came, and the base has none of them either"
        plan.refuse("missing_tensors", message, "", "save the delta again, with its head")


def is_of(module: str, *names: str) -> bool:
    """Whether `modules_to_save` means a module by these names, or a module above it.

    The library takes every module whose path ends in these letters: `norm` also means
    `input_layernorm`.
    """
    while module:
        if module.endswith(names):
            return True
        module = _module(module)
    return False


def _module(path: str) -> str:
    return path.rpartition(".")[0]
