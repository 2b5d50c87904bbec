"""What a library reads of a delta's folder, and the layers that it wraps."""

# safetensors is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import json
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import load_file, save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from deltareg.errors import InvalidInput

CONFIG = "adapter_config.json"
_LAYERS = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d, Conv1D)


def tensors_file(folder: Path, library: str, usual: str) -> Path:
    """Find the file of tensors in a delta's folder: that of the usual name, or the only one.

    The library does not read files beside the usual one, such as a copy in its own folder.

    Args:
        folder: The delta's folder.
        library: The library, for the error.
        usual: The library's name for the file.

    Raises:
        InvalidInput: There is none, or there are several and none has that name.
    """
    if (folder / usual).is_file():
        return folder / usual
    files = sorted(folder.rglob("*.safetensors"))
    if len(files) != 1:
        raise InvalidInput(f"{library} reads one file of tensors, and there are {len(files)}")
    return files[0]


def is_layer_weight(network: nn.Module, parameter: str) -> bool:
    """Return whether a parameter is the weight of a layer that libraries wrap."""
    layer, _, own = parameter.rpartition(".")
    return own == "weight" and isinstance(network.get_submodule(layer), _LAYERS)


@contextmanager
def files_without(folder: Path, tensors: Collection[str], modules: Sequence[str]) -> Generator[Path, None, None]:
    """Yield a folder with the same files, less some tensors; the folder itself if there are none.

    Args:
        folder: The delta's folder, as peft writes one.
        tensors: Names in its weights.
        modules: Paths in the network of all modules that are left, which its config then names one by one.
    """
    if not tensors:
        yield folder
        return
    with TemporaryDirectory() as copy:
        for file in folder.iterdir():
            target = Path(copy) / file.name
            if file.suffix == ".safetensors":
                rest = {name: tensor for name, tensor in load_file(file).items() if name not in tensors}
                save_file(rest, target, metadata={"format": "pt"})
            elif file.name == CONFIG:
                target.write_text(json.dumps({**json.loads(file.read_bytes()), "target_modules": list(modules)}))
            elif file.is_file():
                target.symlink_to(file.resolve())
        yield Path(copy)
