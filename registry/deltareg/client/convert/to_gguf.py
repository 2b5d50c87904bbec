"""A LoRA as llama.cpp reads it: one GGUF file, written by the format's own package.

Factors are widened to float32, as llama.cpp's own converter does by default. A `Modelfile` beside
it names the base and the adapter for Ollama.
"""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deltareg.client.bases.bases import KnownBase
from deltareg.client.convert import gguf_file
from deltareg.client.convert.expert_stacks import by_stack, stack_factors
from deltareg.client.convert.gguf_library import gguf
from deltareg.client.convert.gguf_names import EMBEDDING, GgufNetwork, network_of
from deltareg.client.convert.levelled import of_one_alpha, of_one_rank_each
from deltareg.client.convert.lora import AdaptedModule, ConvertedLora, is_same
from deltareg.client.convert.matrices import InMemoryTensor, widen_tensor
from deltareg.client.convert.ties import check_untied
from deltareg.client.convert.writing import Conversion
from deltareg.errors import IntegrityFailure, InvalidInput
from deltareg.tensors.array import F32

FILE, MODELFILE = "adapter.gguf", "Modelfile"
_EXACT = frozenset({"F32", "F16", "BF16"})
_HEAD_BYTES = 1 << 12  # names, shapes and places of a few hundred factors
_OTHERWISE = "leave it out of what is trained, or serve it in peft's layout"


def plan(lora: ConvertedLora, known: KnownBase) -> Conversion:
    """Plan the file.

    Raises:
        InvalidInput: llama.cpp cannot express it, or only after rounding.
        Refused: It changes a weight that two modules share.
        Misconfigured: The package `gguf` is not installed.
    """
    network = network_of(known.view)
    check_untied(lora.modules, known.view, "llama.cpp")
    equal = of_one_rank_each([_widen_module(m) for m in lora.modules], network.stack)
    level = of_one_alpha(equal, "llama.cpp")
    plain, stacks = by_stack(level, known.view, network.stack)
    by_name = {_name(module, network): [module] for module in plain} | stacks
    modules = [module for found in by_name.values() for module in found]
    made_bytes = sum(len(m.a.read()) + len(m.b.read()) for m in modules)

    def make(path: Path) -> None:
        _check_room(path.parent, made_bytes)
        writer = gguf().GGUFWriter(path, network.architecture)
        writer.add_type("adapter")
        writer.add_string(gguf_file.KIND, "lora")
        writer.add_float32(gguf_file.ALPHA, level[0].alpha)
        for name, modules in sorted(by_name.items()):
            for letter, values in _factors(name, modules, network):
                writer.add_tensor(f"{name}.lora_{letter}", values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def reread(draft: Path) -> None:
        if not is_same(modules, gguf_file.read(draft / FILE, known).modules):
            raise IntegrityFailure("what was written for llama.cpp is not what was read")

    return Conversion(
        source=lora.source,
        result="gguf",
        files={},
        source_bytes=lora.source_bytes,
        beside={**lora.documents, **_modelfile(known)},
        left_out=lora.left_out,
        reread=reread,
        made={FILE: make},
        made_tensors=2 * len(by_name),
        made_bytes=made_bytes,
    )


def _modelfile(known: KnownBase) -> dict[str, bytes]:
    """Return what `ollama create` reads, unless the base's path is one that it cannot express.

    A base is named by its folder, which Ollama imports, or by its name here.
    """
    base = known.name if known.folder is None else str(known.folder.path.absolute())
    if not base.isprintable() or not base or base != base.strip():
        return {}
    return {MODELFILE: f"# ollama create NAME -f {MODELFILE}\nFROM {base}\nADAPTER ./{FILE}\n".encode()}


def _check_room(folder: Path, size_bytes: int) -> None:
    """Check that a file fits on the disk: NumPy, which writes its tensors, reports no short write.

    Raises:
        OSError: It does not fit.
    """
    if shutil.disk_usage(folder).free < size_bytes + _HEAD_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _widen_module(module: AdaptedModule) -> AdaptedModule:
    why = _misfit(module)
    if why:
        raise InvalidInput(f"llama.cpp has no place for {module.module}: {why}", fix=_OTHERWISE)
    a, b = (InMemoryTensor(t.name, "F32", widen_tensor(t)) for t in (module.a, module.b))
    return AdaptedModule(
        module.module, module.target, a, b, module.alpha, is_flipped=module.is_flipped, is_embedding=module.is_embedding
    )


def _misfit(module: AdaptedModule) -> str:
    if module.magnitude is not None:
        return "it is DoRA"
    if len(module.a.shape) != 2:
        return "it is a convolution"
    if not {module.a.dtype, module.b.dtype} <= _EXACT:
        return f"its factors are {module.a.dtype} and {module.b.dtype}"
    if module.is_flipped and not module.is_embedding:
        return "its weight is stored (in, out)"
    return "" if module.alpha else "its alpha is zero, which llama.cpp reads as a scale of one"


def _name(module: AdaptedModule, network: GgufNetwork) -> str:
    name = network.name(module.target)
    if name is None:
        raise InvalidInput(
            f"llama.cpp has no place for {module.module}: it has no name of its own there", fix=_OTHERWISE
        )
    return name


def _factors(name: str, modules: Sequence[AdaptedModule], network: GgufNetwork) -> Sequence[tuple[str, F32]]:
    if len(modules) > 1:
        return [(letter, widen_tensor(t)) for letter, t in zip("ab", stack_factors(modules), strict=True)]
    a, b = widen_tensor(modules[0].a), widen_tensor(modules[0].b)
    if name == EMBEDDING:
        return [("a", np.ascontiguousarray(a.T)), ("b", b)]
    return [("a", a), ("b", network.reorder_rows(modules[0].target, b))]
