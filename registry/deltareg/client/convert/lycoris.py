"""Converts LoHa and LoKr of LyCORIS to peft's layout of the same methods.

Tensors have the same names and shapes in both, `hada_w1_a`, `lokr_w2`, …. What differs is the
module's name and the place of the scale: a tensor `alpha` beside them, over the rank; or a scale of
one if LoKr keeps both of its matrices whole and so has no rank.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import NoReturn

from deltareg.client.bases.bases import KnownBase
from deltareg.client.convert import original_names
from deltareg.client.convert.image_names import finder, source_of
from deltareg.client.convert.image_prefixes import PREFIXES
from deltareg.client.convert.lokr_cuts import LokrCut, cut_of, settings_for
from deltareg.client.convert.lora import number_of, path_of
from deltareg.client.convert.to_peft import WEIGHTS_FILE, adapter_config, as_document, pattern_config
from deltareg.client.convert.writing import Conversion, copy_tensor, documents
from deltareg.client.folders.folder import Folder
from deltareg.delta.delta_manifest import Assessment
from deltareg.delta.examine import examine
from deltareg.delta.kind import Account
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.delta.layouts.peft.keys import PREFIX
from deltareg.delta.maths.formula import Tensor
from deltareg.errors import IntegrityFailure, InvalidInput, Problem, Refused

_LOHA = frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"})
_LOKR = frozenset({"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"})
_CORES = frozenset({"hada_t1", "hada_t2", "lokr_t2"})
_RANK_IN = {"hada_w1_b": 0, "lokr_w1_b": 0, "lokr_w2_b": 0}
_ALPHA = "alpha"


@dataclass(frozen=True, slots=True)
class _Module:
    """A module with its tensors by role.

    Attributes:
        path: Its path in the running network.
        target: Its weight in the base's files.
        rank: Size of the inner dimension.
        alpha: The numerator of the scale.
        tensors: Its tensors by role, without alpha.
    """

    path: str
    target: str
    rank: int
    alpha: float
    tensors: Mapping[str, Tensor]


def is_in(folder: Folder) -> bool:
    """Whether a folder holds such a file."""
    ends = {name.rpartition(".")[2] for name in folder.files.names if name.startswith(PREFIXES)}
    return bool(ends & (_LOHA | _LOKR)) and CONFIG_FILE not in folder.documents


def plan(folder: Folder, known: KnownBase) -> Conversion:
    """Plan the conversion.

    Raises:
        Refused: A tensor's name has no meaning, or its module matches none or two of the base's.
        InvalidInput: peft cannot express it, or the base is a pipeline.
    """
    if known.view.components:
        message = "a pipeline is several networks, and peft has LoHa and LoKr on one"
        raise InvalidInput(message, fix="name the component's own folder or base with --base")
    problems = examine(Account([], {}), folder.tensors, None, folder.files)
    if problems:
        raise Refused(problems)
    peft_type, by_name = _group_tensors(original_names.respell_names(folder.tensors, known.view))
    find = finder(known.view)
    modules = [_module(name, roles, find, known) for name, roles in sorted(by_name.items())]
    _check_twins(modules)
    config = {
        **adapter_config(peft_type),
        **pattern_config({m.path: m.rank for m in modules}, {m.path: m.alpha for m in modules}, alpha_key="alpha"),
        "target_modules": sorted(module.path for module in modules),
        "use_effective_conv2d": any(module.tensors.keys() & _CORES for module in modules),
        **(_cuts(modules, known) if peft_type == "LOKR" else {}),
    }
    alphas = sum(name.endswith(f".{_ALPHA}") for name in folder.tensors)

    def prove(written: Assessment) -> None:
        hit = {getattr(effect, "target", "") for effect in written.account.effects}
        if hit != {module.target for module in modules}:
            raise IntegrityFailure("what was written is not on the modules that were read")

    return Conversion(
        source=source_of(folder.tensors),
        result=peft_type.lower(),
        files={
            WEIGHTS_FILE: [
                copy_tensor(f"{PREFIX}{module.path}.{role}", tensor)
                for module in modules
                for role, tensor in module.tensors.items()
            ]
        },
        source_bytes=sum(f.size_bytes for f in folder.contents.values() if f.header is not None),
        beside={**documents(folder), CONFIG_FILE: as_document(config)},
        left_out=(f"{alphas} tensors .alpha (now in {CONFIG_FILE})",) if alphas else (),
        prove=prove,
    )


def _group_tensors(tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, dict[str, Tensor]]]:
    """Return the method, and each module's tensors by role."""
    modules: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        module, _, role = name.rpartition(".")
        if not name.startswith(PREFIXES) or role not in _LOHA | _LOKR | {_ALPHA}:
            _refuse("unexpected_tensors", "peft's LoHa and LoKr have no such tensor", name)
        modules[module][role] = tensor
    roles_used = {role for roles in modules.values() for role in roles} - {_ALPHA}
    if roles_used & _LOHA and roles_used & _LOKR:
        message = "some modules are LoHa and others LoKr, and peft has one method in a folder"
        raise InvalidInput(message, fix="convert them one by one")
    return ("LOHA" if roles_used & _LOHA else "LOKR"), dict(modules)


def _cuts(modules: Sequence[_Module], known: KnownBase) -> dict[str, object]:
    """Return the settings by which peft makes matrices of the file's sizes."""
    cuts: list[tuple[LokrCut, int]] = []
    for module in modules:
        any_name = next(iter(module.tensors.values())).name
        cut = cut_of(module.tensors, known.view.tensors[module.target].shape)
        if cut is None:
            _refuse("shape", f"its matrices do not make {module.target}", any_name)
        cuts.append((cut, module.rank))
    settings = settings_for(cuts)
    if settings is None:
        message = "peft cuts all weights by one decompose_factor, and none gives this file's sizes"
        raise InvalidInput(message, fix="train it with one factor for all modules, or as LoHa or LoRA")
    return settings


def _module(
    name: str, roles: Mapping[str, Tensor], find: Callable[[str], tuple[str, ...]], known: KnownBase
) -> _Module:
    any_name, where = next(iter(roles.values())).name, find(name)
    if len(where) != 1:
        message = f"fits {' and '.join(where[:3])}" if where else "fits no module"
        code = "ambiguous" if where else "no_tensor_applied"
        _refuse(code, f"its name {message} of the base", any_name)
    own = {role: tensor for role, tensor in roles.items() if role != _ALPHA}
    if not own:
        _refuse("missing_tensors", "its factors did not come", any_name)
    has_rank = any(role in own for role in _RANK_IN)
    rank = _rank(own) if has_rank else _whole_rank(own, known.view.tensors[where[0]].shape)
    alpha = _alpha(roles.get(_ALPHA), rank) if has_rank else float(rank)
    return _Module(path_of(where[0], known.view), where[0], rank, alpha, own)


def _rank(roles: Mapping[str, Tensor]) -> int:
    shape = next(roles[role].shape for role in _RANK_IN if role in roles)
    return shape[0] if shape else 0


def _whole_rank(roles: Mapping[str, Tensor], shape: tuple[int, ...]) -> int:
    """Return a rank at which peft stores a module's matrices whole, as the file does."""
    cut = cut_of(roles, shape)
    return 1 if cut is None else cut.whole_rank


def _alpha(tensor: Tensor | None, rank: int) -> float:
    if tensor is None:
        return float(rank)
    if prod(tensor.shape) != 1:
        _refuse("shape", f"alpha {list(tensor.shape)} is more than one number", tensor.name)
    alpha = number_of(tensor)
    if not alpha:
        message = "alpha is zero: some programs read that as no change, others as a scale of one"
        _refuse("bad_config", message, tensor.name)
    return alpha


def _check_twins(modules: list[_Module]) -> None:
    by_target: dict[str, _Module] = {}
    for module in modules:
        twin = by_target.setdefault(module.target, module)
        if twin is not module:
            first = next(iter(module.tensors.values())).name
            _refuse("overlap", f"two modules of the file are {module.target} of the base", first)


def _refuse(code: str, told: str, tensor: str) -> NoReturn:
    raise Refused([Problem(code, told, tensor=tensor, fix="check the base and the tool")])
