"""Tensors grouped by module, and the problems of modules that the base lacks."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from deltareg.delta.architectures import facts
from deltareg.delta.kind import BaseView, WeightUpdate
from deltareg.delta.layouts.peft.keys import PREFIX, PeftTensorName, PeftTensorNames
from deltareg.delta.layouts.peft.marks import marks
from deltareg.delta.layouts.peft.saved import EffectPlan
from deltareg.delta.layouts.peft.spellings import RENAME, SuffixFinder
from deltareg.delta.maths.updates import IdentityUpdate, RowExtension, RowReplacement

Roles = Mapping[tuple[str, str], str]
_SEVERAL = 2


def by_module(keys: Iterable[PeftTensorName], roles: Roles) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Group tensors by module and role.

    Args:
        keys: Names parsed with the kind's markers.
        roles: (marker, parameter) -> role.

    Returns:
        Module -> role -> tensor name, and names that have no role or a role that another name has.
    """
    markers = {marker for marker, _ in roles}
    modules: dict[str, dict[str, str]] = defaultdict(dict)
    odd: list[str] = []
    for key in keys:
        if key.marker in markers:
            role = roles.get((key.marker, key.parameter), "")
            if not role or role in modules[key.module]:
                odd.append(key.name)
            else:
                modules[key.module][role] = key.name
    return {module: by_role for module, by_role in modules.items() if by_role}, odd


def weight_of(module: str, base: BaseView) -> tuple[str, str]:
    """Return the weight that a module's tensors change, and the base's tensor it shares if any.

    Returns:
        (target, reads); both empty when the base has no such module.
    """
    path = f"{module}.weight"
    own = base.names.tensor(path)
    if own is not None:
        return own, ""
    twin = base.names.stored_twin(path)
    return (base.names.spelled_like(path, twin), twin) if twin is not None else ("", "")


def is_stored_transposed(
    weight: str, shape: tuple[int, ...], made: tuple[int, int], base: BaseView, *, told: bool
) -> bool:
    """Whether a weight is stored (in, out): by the type, else by the shapes, else by the config.

    Args:
        weight: The base's tensor.
        shape: Its shape, including any added rows.
        made: (out, in) of the layer, as the delta's tensors have it.
        base: The base.
        told: `fan_in_fan_out`.
    """
    if base.names.is_transposed(weight):
        return True
    if base.names.is_type_known or len(shape) != 2:
        return False
    is_plain, is_flipped = made == shape, made[::-1] == shape
    return told if is_plain and is_flipped else is_flipped


def refuse_without_modules(plan: EffectPlan, names: Iterable[str], peft_type: str) -> None:
    """Record the problem of a config without a single tensor of its kind."""
    ordered = sorted(names)
    other_types = marks(ordered) - {peft_type}
    first = ordered[0] if ordered else ""
    if other_types:
        message = f"the config says {peft_type}, and the tensors are those of"
        message = f"{message} {', '.join(sorted(other_types))}"
        plan.refuse("kind_mismatch", message, first, "push each delta with its own config")
    else:
        message = f"the config says {peft_type}, and no tensors of it came under {PREFIX}…"
        plan.refuse("no_tensor_applied", message, first, "save the delta again with the library")


def has_one_adapter(plan: EffectPlan, keys: PeftTensorNames) -> bool:
    """Whether the names belong to one adapter; several are refused."""
    if len(keys.adapters) < _SEVERAL:
        return True
    message = f"the file holds several adapters: {', '.join(sorted(keys.adapters)[:4])}"
    fix = "save each alone: save_pretrained(DIR, selected_adapters=[NAME]), and push it"
    plan.refuse("ambiguous", message, "", fix)
    return False


def refuse_unapplied(
    plan: EffectPlan,
    modules: Mapping[str, Mapping[str, str]],
    hit: Mapping[str, str],
    odd: list[str],
    *,
    kind: str,
    base: BaseView,
) -> None:
    """Record the problems of modules that the base lacks, and of names without meaning."""
    lost = [name for m, roles in modules.items() if m not in hit for name in roles.values()]
    if lost:
        total = sum(len(roles) for roles in modules.values())
        message = f"{len(lost)} of {total} factors belong to modules that the base does not have"
        fix = "check the base, and the part of the name before the layers"
        elsewhere = SuffixFinder(base).paths(module for module in modules if module not in hit)
        if elsewhere:
            module, path = next(iter(elsewhere.items()))
            message, fix = f"{message} under these names: {module} is {path} there", RENAME
        elif base.names.model_type in facts().loras_renamed:
            # The library keeps them in another form in files, such as q, k and v as one weight.
            saving = "model.save_pretrained(DIR, save_original_format=False)"
            fix = f"{fix}; or register the base as it is in memory: {saving}"
        code = "partial_application" if hit else "no_tensor_applied"
        plan.refuse(code, message, lost[0], fix)
    for name in odd:
        plan.refuse("unexpected_tensors", f"its name says nothing to a {kind}", name, "take it out")


def untie(plan: EffectPlan, base: BaseView) -> None:
    """Untie a name from a shared weight that changes under another name only.

    The library adapts modules and not weights, so the twin keeps the weight as it was.
    """
    changed = {e.target: e for e in plan.effects if isinstance(e, WeightUpdate)}
    rows = [e for e in changed.values() if isinstance(e.update, RowReplacement)]
    for twin, original_name in base.names.absent_twins().items():
        effect = changed.get(original_name)
        if twin in changed:
            continue
        if any(e.source == original_name for e in rows):
            if len({e.source for e in rows}) > 1 or effect not in rows:
                _refuse_to_follow(plan, twin, original_name)
            continue
        if effect is None or isinstance(effect.update, RowExtension):
            continue
        grown = plan.grown.get(original_name)
        original = plan.originals.get(original_name)
        if grown is None:
            plan.effects.append(WeightUpdate(twin, IdentityUpdate(), {}, original_name))
        elif original is not None:
            height = base.tensors[original_name].shape[0]
            plan.effects.append(WeightUpdate(twin, RowExtension(original, height), {}, original_name, grown))


def _refuse_to_follow(plan: EffectPlan, twin: str, stored: str) -> None:
    message = f"{twin} shares {stored}, and the library lets it follow the rows of the input embedding"
    fix = "name the shared embedding, and no other, in trainable_token_indices"
    plan.refuse("ambiguous", f"{message} only: which of those that came is that is not said", "", fix)


def refuse_half_grown(plan: EffectPlan, base: BaseView) -> None:
    """Refuse new tokens that the embedding has and the base's own head lacks.

    The library leaves a resized head out of some deltas; loading them gives random rows.
    """
    grown = {base.tensors[t].shape[0]: t for t in plan.grown if t in base.tensors}
    for name, record in base.tensors.items():
        embedding = grown.get(record.shape[0]) if len(record.shape) > 1 else None
        if embedding and name not in plan.grown and base.names.is_head(base.names.canonical(name)):
            message = f"{embedding} has new rows, and those of {name} did not come along"
            fix = f"name {name.removesuffix('.weight')} in modules_to_save, and train again"
            plan.refuse("not_self_contained", message, "", fix)
