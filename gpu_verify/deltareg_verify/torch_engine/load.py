"""Loading a base as a live network, by transformers, from local files, without code from them.

What transformers made of the files is then held against them: a parameter that does not equal its
stored tensor would mean that another base is tested than the one that was fingerprinted.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
import transformers

from deltareg.errors import Inconclusive
from deltareg.formula import Tensor
from deltareg.kind import BaseView
from deltareg_verify.torch_engine.ops import NAMES, stored

_FRESH_SEED = 0


@dataclass(frozen=True, slots=True)
class Network:
    """A base in memory.

    Attributes:
        module: The live network, in evaluation mode.
        live: Its parameters and buffers by name, tied ones under all their names.
        places: For every tensor of the files all names in `live` that hold it.
        dtype: Of its first floating parameter, as safetensors spells it.
        fresh: Parameters that no file holds, filled with seeded noise.
    """

    module: transformers.PreTrainedModel
    live: Mapping[str, torch.Tensor]
    places: Mapping[str, Sequence[str]]
    dtype: str
    fresh: tuple[str, ...]


def load(
    path: Path, view: BaseView, tensors: Mapping[str, Tensor], device: torch.device
) -> Network:
    """Load a base and check that what was loaded is what the files hold.

    Raises:
        Inconclusive: transformers has no class for it, or read something else than the files hold.
    """
    module = _from_files(path)
    module.to(device)  # type: ignore[arg-type]  # transformers' wrapper loses the method's self
    network = network_of(module, view)
    wrong = first_difference(network, tensors)
    if wrong is not None:
        raise Inconclusive(f"transformers loaded {wrong[1]}, which is not {wrong[0]} of the base")
    return network


def network_of(module: transformers.PreTrainedModel, view: BaseView) -> Network:
    """Find the tensors of a base in a network that is in memory already."""
    live: dict[str, torch.Tensor] = dict(module.named_parameters(remove_duplicate=False))
    live.update(module.named_buffers(remove_duplicate=False))
    places = find_places(live, view)
    held = {name for names in places.values() for name in names}
    fresh = sorted(name for name, _ in module.named_parameters() if name not in held)
    first = next(p for p in module.parameters() if p.is_floating_point())
    return Network(module, live, places, NAMES[first.dtype], tuple(fresh))


def first_difference(network: Network, tensors: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """Find a tensor of the base's files that is another one in memory.

    Returns:
        Its name in the files and in memory; None when all are equal, rounded to the memory's dtype.
    """
    live = network.module.state_dict(keep_vars=True)
    for file_name, names in network.places.items():
        if names[0] not in live:  # a buffer that is computed and not stored
            continue
        value = live[names[0]].detach().cpu()
        if value.shape != tensors[file_name].shape:
            return file_name, names[0]
        if not torch.equal(value, stored(tensors[file_name]).to(value.dtype)):
            return file_name, names[0]
    return None


def find_places(live: Mapping[str, torch.Tensor], view: BaseView) -> dict[str, list[str]]:
    """Give, for every tensor of the base's files, all names under which it lives in memory."""
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


def load_tokenizer(path: Path) -> transformers.PreTrainedTokenizerBase | None:
    """Load the base's tokenizer; None when it brings none that transformers reads."""
    if not any((path / name).is_file() for name in ("tokenizer.json", "vocab.txt", "vocab.json")):
        return None
    try:
        return transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (ValueError, OSError, KeyError):
        return None


def _from_files(path: Path) -> transformers.PreTrainedModel:
    torch.manual_seed(_FRESH_SEED)
    try:
        config = transformers.AutoConfig.from_pretrained(path, local_files_only=True)
        kind = _network_class(config)
        module: transformers.PreTrainedModel = kind.from_pretrained(
            path, config=config, local_files_only=True, use_safetensors=True, dtype="auto"
        )
    except (ValueError, OSError, KeyError, ImportError) as error:
        raise Inconclusive(
            f"transformers {transformers.__version__} cannot load the base {path.name}: {error}",
            fix="run it on a worker whose transformers knows this architecture",
        ) from error
    module.eval()
    return module


def _network_class(config: transformers.PretrainedConfig) -> type[transformers.PreTrainedModel]:
    for name in config.architectures or ():
        found = getattr(transformers, name, None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found
    return cast(type[transformers.PreTrainedModel], transformers.MODEL_MAPPING[type(config)])
