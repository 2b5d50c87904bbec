"""Loads a base as a live network from local files, without code from them.

The result of the library is then compared with the files: a parameter that does not equal its
stored tensor would mean that the tested base is not the fingerprinted one.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from torch import nn

from deltareg.delta.kind import BaseView
from deltareg.delta.maths.formula import Tensor
from deltareg.errors import Inconclusive
from deltareg_verify.engine.dtypes import RUN_IN
from deltareg_verify.engine.torch_engine.from_files import blank_values, map_tensors
from deltareg_verify.engine.torch_engine.networks import LoadReport, make_network
from deltareg_verify.engine.torch_engine.ops import NAMES, borrow_rows
from deltareg_verify.engine.torch_engine.streamed import StreamPlacement, stand_in

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
"""What a suite may ask a base to run in, whatever it is stored in."""
SPELLED = {name: word for word, name in RUN_IN.items()}
"""How a suite calls the dtypes that safetensors spells otherwise."""


@dataclass(frozen=True, slots=True)
class ParameterSlot:
    """The place of a stored tensor within a parameter that holds several.

    Attributes:
        whole: The parameter's name.
        row: The row of its first dimension; None where the parts follow each other along that one.
        start: The first row below that is the tensor's.
        stop: One after the tensor's last row.
    """

    whole: str
    row: int | None
    start: int
    stop: int

    def of(self, value: torch.Tensor) -> torch.Tensor:
        """Return this part of the parameter's value."""
        return value[self.start : self.stop] if self.row is None else value[self.row, self.start : self.stop]


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A base in memory.

    Attributes:
        module: The live network, in evaluation mode.
        live: Its parameters and buffers by name, tied ones under all their names.
        places: For every tensor of the files all names in `live` that hold it.
        dtype: The dtype of most floating parameters, as safetensors spells it.
        fresh: Parameters that no file holds, filled with seeded noise.
        slots: For every tensor of the files that is a part of a parameter, that part.
        loading: The library's report on the files, where it loaded them.
    """

    module: nn.Module
    live: Mapping[str, torch.Tensor]
    places: Mapping[str, Sequence[str]]
    dtype: str
    fresh: tuple[str, ...]
    slots: Mapping[str, ParameterSlot]
    loading: LoadReport


def load(
    path: Path,
    view: BaseView,
    tensors: Mapping[str, Tensor],
    device: torch.device,
    *,
    dtype: torch.dtype,
    placing: StreamPlacement | None = None,
) -> LoadedNetwork:
    """Load a base and check that the result is what the files hold.

    On a CPU a weight that runs in its stored dtype shares the memory of its file.

    Args:
        path: The base's folder.
        view: Its names, shapes and configuration.
        tensors: The tensors in its files.
        device: The device to run on.
        dtype: The dtype to run in.
        placing: Brings its weights call by call; None loads all of them, to stay.

    Raises:
        Inconclusive: No library here has a class for it, or one read something other than the files
            hold, or gave its weights names that are unknown here.
    """
    values = map_tensors(tensors)
    load_dtype = dtype if placing is None else _most_common(values.values(), dtype)
    module, loading = make_network(path, view, values, load_dtype)
    lost = sorted(name for name in loading.mismatched if not _is_head(name, view))
    if lost:
        raise Inconclusive(
            f"its library wants {lost[0]} of the base in another shape", fix="register the base as its library saves it"
        )
    network = network_of(module, view, loading)
    _check_known(network, view)
    wrong = first_difference(network, tensors)
    if wrong is not None:
        raise Inconclusive(f"{wrong[1]} in memory is not {wrong[0]} of the base")
    if placing is None:
        if device.type == "cpu":  # where it is
            return network
        module.to(device)
        return network_of(module, view, loading)
    homes: dict[str, torch.Tensor] = dict(module.named_parameters(remove_duplicate=False))
    filled = {file for file, places in network.places.items() if places[0] in homes}
    homes |= {place: values[file] for file in filled for place in network.places[file]}
    if load_dtype != dtype:
        # Its buffers, and what no file holds, are what they would be if all of it were converted.
        blank = blank_values(values, filled | network.slots.keys(), dtype)
        module, _ = make_network(path, view, blank, dtype)
        own = dict(module.named_parameters(remove_duplicate=False))
        homes |= {name: own[name] for name in network.fresh}
    stand_in(module, homes, placing)
    return network_of(module, view, loading)


def _runs_in(module: nn.Module) -> torch.dtype:
    return _most_common(module.parameters(), torch.float32)


def _most_common(values: Iterable[torch.Tensor], default: torch.dtype) -> torch.dtype:
    """Return the dtype of most elements, among the real numbers."""
    counts: Counter[torch.dtype] = Counter()
    for value in values:
        if value.is_floating_point():
            counts[value.dtype] += value.numel()
    return counts.most_common(1)[0][0] if counts else default


def _check_known(network: LoadedNetwork, view: BaseView) -> None:
    """Raise where nobody can say whether weights of the files and of the network are the same."""
    names = view.names
    tensor_names = {names.tensor(name) for name in network.live} | network.slots.keys()
    lost = [
        name
        for name in view.tensors
        if name not in tensor_names and not names.is_buffer(name) and not _is_head(name, view)
    ]
    new = [name for name in network.fresh if not _is_head(name, view)]
    if lost and new:
        message = f"no file of the base has {new[0]}, and the network has no {lost[0]}"
        raise Inconclusive(
            f"{message}: how the two are named in a {names.model_type or 'base'} is not known here",
            fix="ask for this type of base to be added",
        )


def _is_head(name: str, view: BaseView) -> bool:
    return view.names.is_head(view.names.canonical(name))


def network_of(module: nn.Module, view: BaseView, loading: LoadReport | None = None) -> LoadedNetwork:
    """Find the tensors of a base in a network that is in memory already."""
    live: dict[str, torch.Tensor] = dict(module.named_parameters(remove_duplicate=False))
    live.update(module.named_buffers(remove_duplicate=False))
    places, slots = find_places(live, view), find_slots(live, view)
    live_names = {name for names in places.values() for name in names}
    live_names |= {slot.whole for slot in slots.values()}
    fresh = sorted(name for name, _ in module.named_parameters() if name not in live_names)
    dtype, report = NAMES[_runs_in(module)], loading or LoadReport()
    return LoadedNetwork(module, live, places, dtype, tuple(fresh), slots, report)


def first_difference(network: LoadedNetwork, tensors: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """Find a tensor of the base's files that differs in memory.

    Returns:
        Its name in the files and in memory; None when all are equal, rounded to the memory's dtype.
    """
    live = network.module.state_dict(keep_vars=True)
    for file_name, names in network.places.items():
        # A buffer that is computed and not stored is not among them; and where a delta has a head
        # of another size, the base's own is not there.
        is_other_head = names[0] in network.loading.mismatched
        if names[0] in live and not is_other_head and not _is_equal(live[names[0]], tensors[file_name]):
            return file_name, names[0]
    for file_name, slot in network.slots.items():
        if not _is_equal(slot.of(live[slot.whole]), tensors[file_name]):
            return file_name, slot.whole
    return None


def find_places(live: Mapping[str, torch.Tensor], view: BaseView) -> dict[str, list[str]]:
    """Return, for every tensor of the base's files, all its names in memory."""
    owner: dict[int, str] = {}
    for name, value in live.items():
        file_name = view.names.tensor(name)
        if file_name is not None:
            owner.setdefault(id(value), file_name)
    places: dict[str, list[str]] = defaultdict(list)
    for name, value in live.items():
        if id(value) in owner:
            places[owner[id(value)]].append(name)
    return dict(places)


def find_slots(live: Mapping[str, torch.Tensor], view: BaseView) -> dict[str, ParameterSlot]:
    """Return the tensors of the base's files that are parts of a larger parameter in memory.

    Only a parameter of which the files have every part counts.
    """
    spelled = {view.names.canonical(name): name for name in live}
    by_parameter: dict[str, dict[str, ParameterSlot]] = defaultdict(dict)
    for file_name, record in view.tensors.items():
        slot = _slot_of(file_name, record.shape, live, spelled, view)
        if slot is not None:
            by_parameter[slot.whole][file_name] = slot
    slots: dict[str, ParameterSlot] = {}
    for whole, parts in by_parameter.items():
        covered = {(slot.row, slot.start) for slot in parts.values()}
        is_joined = any(slot.row is None for slot in parts.values())
        size = live[whole].shape[0] * (1 if is_joined else live[whole].shape[1])
        is_whole = sum(slot.stop - slot.start for slot in parts.values()) == size
        if is_whole and len(covered) == len(parts):
            slots.update(parts)
    return slots


def _slot_of(
    file_name: str, shape: Sequence[int], live: Mapping[str, torch.Tensor], spelled: Mapping[str, str], view: BaseView
) -> ParameterSlot | None:
    """Return the place of one tensor of the files; None where it is no part, or does not fit."""
    part, joined = view.names.part(file_name), view.names.find_joined(file_name)
    among = part or joined
    whole = spelled.get(view.names.canonical(among.whole)) if among is not None else None
    if whole is None or len(shape) < 2:
        return None
    height, room = shape[0], live[whole].shape
    if part is not None:
        start, fits = part.place * height, (part.places * height, *shape[1:])
        is_here = part.row < room[0] and room[1:] == fits
        return ParameterSlot(whole, part.row, start, start + height) if is_here else None
    if joined is None or room[1:] != tuple(shape[1:]) or not {*joined.before} <= view.tensors.keys():
        return None
    start = sum(view.tensors[name].shape[0] for name in joined.before)
    return ParameterSlot(whole, None, start, start + height)


def load_tokenizer(path: Path) -> transformers.PreTrainedTokenizerBase | None:
    """Load the base's tokenizer; None when it brings none that transformers reads."""
    if not any((path / name).is_file() for name in ("tokenizer.json", "vocab.txt", "vocab.json")):
        return None
    try:
        return transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (ValueError, OSError, KeyError):
        return None


def _is_equal(live: torch.Tensor, file: Tensor) -> bool:
    """Return whether a tensor equals the file's, rounded to the dtype that it has in memory."""
    value, own = live.detach().cpu(), borrow_rows(file)
    if _is_same_memory(value, own):  # the file's own, which need not be read
        return True
    return value.shape == own.shape and torch.equal(value, own.to(value.dtype))


def _is_same_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    alike = (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
    return alike and one.data_ptr() == other.data_ptr()
