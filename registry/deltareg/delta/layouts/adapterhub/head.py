"""The prediction head that the library saves beside an adapter: trained with it, so it counts.

A head's tensors stand under the names of the network itself (`classifier.weight`), in a file of
their own, and `head_config.json` names their class. Heads that the library builds itself (flex
heads) are part of no class of transformers and are refused.
"""

from collections.abc import Container

from deltareg.delta.kind import Addition, BaseCopy, BaseView, DeltaFiles, Tensors, WeightUpdate
from deltareg.delta.layouts.adapterhub.keys import AdapterTensorName
from deltareg.delta.layouts.peft.saved import EffectPlan
from deltareg.delta.maths.updates import Replacement
from deltareg.errors import Problem

HEAD_CONFIG = "head_config.json"
_FRAME = frozenset(
    {"config", "hidden_size", "label2id", "model_class", "model_name", "model_type", "name", "num_labels", "version"}
)


def head_names(tensors: Tensors, keys: list[AdapterTensorName]) -> list[str]:
    """Return the names of tensors that belong to no adapter."""
    own = {key.name for key in keys}
    return sorted(name for name in tensors if name not in own)


def head_problems(names: list[str], files: DeltaFiles) -> list[Problem]:
    """Check a head's tensors against its config."""
    config = files.documents.get(HEAD_CONFIG)
    if config is None:
        message = f"it is no tensor of the adapter, and no {HEAD_CONFIG} declares a head"
        return [Problem("unexpected_tensors", message, tensor=n, fix="take it out") for n in names]
    problems = [
        Problem("bad_config", f"{HEAD_CONFIG}: {field[:80]} is not known here")
        for field in sorted(config.keys() - _FRAME)
    ]
    if config.get("config") is not None or config.get("name") is not None:
        message = f"{HEAD_CONFIG} describes a head that the library builds, which no class here has"
        fix = "train with the head of a transformers class, or save the adapter with_head=False"
        problems.append(Problem("bad_config", message, fix=fix))
    elif not names:
        message = f"{HEAD_CONFIG} declares a head, and none of its tensors came"
        problems.append(Problem("missing_tensors", message, fix="push the head's file, too"))
    return problems


def plan_head(plan: EffectPlan, names: list[str], *, tensors: Tensors, base: BaseView) -> None:
    """Add the effects of a head's tensors to a plan.

    A tensor that the network shares with its embeddings is no head's own: training leaves it as it
    was, so it must be a copy of the base's.

    Args:
        plan: Receives effects and problems.
        names: The head's tensors.
        tensors: All tensors.
        base: The base.
    """
    own = {tensor: _head(tensor, base) for tensor in base.tensors}
    heads = {_head(name, base) for name in names} - {""}
    claimed = {base.names.tensor(name) for name in names}
    for lost in (t for t, head in own.items() if head in heads and t not in claimed):
        message = f"other tensors of the head came, and none for {lost}"
        plan.refuse("missing_tensors", message, lost, "push the whole head")
    head_tensors = set(own.values())
    for name in names:
        _plan_tensor(plan, name, tensors=tensors, base=base, held=head_tensors)


def _plan_tensor(plan: EffectPlan, name: str, *, tensors: Tensors, base: BaseView, held: Container[str]) -> None:
    tensor, consumes, head = tensors[name], {name: "head"}, _head(name, base)
    own, twin = base.names.tensor(name), base.names.stored_twin(name)
    if own is not None and head:
        shape = tensor.shape if tensor.shape != base.tensors[own].shape else None
        plan.effects.append(WeightUpdate(own, Replacement(tensor), consumes, shape=shape))
    elif own is not None:
        message = f"it would overwrite {own} of the base, which is part of no head"
        plan.refuse("undeclared_base_override", message, name, "take it out")
    elif twin is not None:
        plan.effects.append(BaseCopy(twin, tensor, {name: "base_copy"}))
    elif head and head not in held:
        plan.effects.append(Addition(name, tensor, consumes))
    else:
        message = "neither the base nor the adapter has it, and it is part of no new head"
        plan.refuse("unexpected_tensors", message, name, "take it out")


def _head(name: str, base: BaseView) -> str:
    """Return the head that a tensor belongs to; empty if none."""
    path = base.names.canonical(name)
    return path.partition(".")[0] if base.names.is_head(path) else ""
