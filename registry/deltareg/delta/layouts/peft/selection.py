"""Whether the library that serves a delta applies everything that its files hold.

The library creates an adapter for each module that the config asks for, by the paths of the running
network, and fills it from the files. It drops other tensors without an error.
"""

from collections import defaultdict
from collections.abc import Mapping

from deltareg.delta.kind import BaseView
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.delta.layouts.peft.spellings import headed_path, path_in_library, served_path
from deltareg.delta.layouts.peft.targets import ALL_LINEAR, TargetModules, find_unadapted, template_of
from deltareg.delta.layouts.peft.trained import TrainedNetwork
from deltareg.errors import Problem

_FIX = f"put the {CONFIG_FILE} beside the tensors that they were trained with"
_OUTPUTS = frozenset({"lm_head", "embed_out"})
_Modules = Mapping[str, Mapping[str, str]]


def hold_against_config(
    hit: Mapping[str, str],
    modules: _Modules,
    targets: TargetModules,
    trained: TrainedNetwork,
    base: BaseView,
    *,
    rank: int = 2,
    with_twins: bool = False,
    converts: bool = False,
) -> list[Problem]:
    """Find modules that the config asks for without tensors, and tensors that would not be applied.

    Args:
        hit: Path in the network that was trained -> the base's weight.
        modules: The same paths -> role -> name of a tensor.
        targets: The modules that the config asks for.
        trained: The network that was trained.
        base: The base.
        rank: The least number of dimensions of an adaptable module's weight.
        with_twins: Whether asking for a module also adapts those that share its weight.
        converts: Whether the library converts names of this type of delta to those of its classes.
    """
    is_same, own = trained.is_base_class, {module: modules[module] for module in hit}
    dropped = [module for module in own if not _is_selected(module, targets, base)]
    if dropped and with_twins:
        retained = {base.names.canonical(f"{module}.weight") for module in own.keys() - {*dropped}}
        dropped = [module for module in dropped if not base.names.sharers(f"{module}.weight").keys() & retained]
    if len(dropped) == len(own) and all(targets.listed.first(m) is None for m in dropped):
        return [_fits_nothing(own, targets)]
    return [
        *find_unadapted(hit, targets, base, same_class=is_same, rank=rank),
        *_report_unselected(dropped, own),
        *(_unreachable(hit, own, targets, trained, base, converts=converts) if trained.is_headed else ()),
    ]


def _fits_nothing(modules: _Modules, targets: TargetModules) -> Problem:
    targeted = ", ".join(entry.text for entry in targets.listed.entries)[:80] or ALL_LINEAR
    message = f"target_modules ({targeted}) fits none of the modules that tensors came for"
    first = next(name for roles in modules.values() for name in roles.values())
    return Problem("bad_config", f"{CONFIG_FILE}: {message}", tensor=first, fix=_FIX)


def _report_unselected(dropped: list[str], modules: _Modules) -> list[Problem]:
    groups: dict[str, list[str]] = defaultdict(list)
    for module in dropped:
        groups[template_of(module)].append(module)
    return [
        Problem(
            "not_selected",
            f"the config does not ask for {len(group)} of the modules that tensors came for"
            f" ({template}): the library would drop them without an error",
            tensor=next(iter(modules[group[0]].values())),
            fix=_FIX,
        )
        for template, group in groups.items()
    ]


def _unreachable(
    hit: Mapping[str, str],
    modules: _Modules,
    targets: TargetModules,
    trained: TrainedNetwork,
    base: BaseView,
    *,
    converts: bool,
) -> list[Problem]:
    """Find paths that the class does not have, so that their tensors are never loaded."""
    find = served_path if trained.is_base_class else headed_path
    lost: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for module, target in hit.items():
        path = find(target, base)
        if path_in_library(module, base, converts=converts) == path or not path:
            continue
        if base.names.part(target) is not None:  # no class of today's has an expert by itself: no name would do
            continue
        prefix = path.removesuffix(f".{base.names.apply_renames(module)}")
        # An old name that the config asks for by its own last part fails in the library, aloud.
        if prefix != path or _is_selected(path, targets, base):
            lost[f"{prefix}." if prefix != path else ""].append((module, path))
    return [
        Problem(
            "not_selected",
            f"{len(paths)} modules {_describe_mismatch(prefix, *paths[0])} under which {trained.on} has"
            " them: the library would apply none of their tensors, without an error",
            tensor=next(iter(modules[paths[0][0]].values())),
            fix=f"rename {paths[0][0]} to {paths[0][1]}, and so on: deltareg convert PATH --out DIR --base BASE",
        )
        for prefix, paths in lost.items()
    ]


def _describe_mismatch(prefix: str, module: str, served: str) -> str:
    return f"lack {prefix} in their names," if prefix else f"are named as {module}, not {served},"


def _is_selected(module: str, targets: TargetModules, base: BaseView) -> bool:
    if targets.is_all_linear:
        path = base.names.canonical(module)
        is_output = base.names.is_head(path) and path.rpartition(".")[2] in _OUTPUTS
        return not is_output and not targets.leaves_out(module)
    return not targets.listed.entries or targets.entry(module) is not None
