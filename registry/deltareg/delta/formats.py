"""Layouts of fine-tuning deltas by the evidence in their names, to tell users what they have.

Kinds recognise themselves; this module only describes folders that none of them recognises.
"""

from collections.abc import Callable
from typing import cast

from deltareg.delta.kind import DeltaFiles
from deltareg.delta.layouts.peft.config import CONFIG_FILE, adapter_config, peft_type
from deltareg.delta.layouts.peft.marks import is_adapterhub, marks
from deltareg.delta.layouts.peft.refused import reason

CONVERT_FIX = "convert it: deltareg convert PATH --out DIR --base BASE"
_TASK_VECTOR_FILES = ("task_vector", "delta", "diff")


def describe(files: DeltaFiles) -> str:
    """Describe what a folder seems to hold, with the evidence."""
    if is_adapterhub(files):
        return f"an adapter of the adapters library ({_architecture(files)}), by its {CONFIG_FILE}"
    declared = peft_type(files)
    if declared:
        why = reason(declared)
        return f"a peft delta of peft_type {declared[:80]!r}" + (f" ({why})" if why else "")
    layout = _gguf(files) or _convertible(files)
    if layout:
        return layout
    types = marks(files.names)
    if types:
        return f"a peft delta ({', '.join(sorted(types))}) without its {CONFIG_FILE}"
    if any(path.startswith(_TASK_VECTOR_FILES) for path in files.headers):
        return "a task vector or a part of one, by its file name"
    return "weights that are only a part of the base's"


def fix_of_unknown(files: DeltaFiles) -> str:
    """Return the advice for a folder that no kind recognises."""
    is_read = _convertible(files) and not _gguf(files)
    return CONVERT_FIX if is_read else "convert it to one of these kinds"


def _convertible(files: DeltaFiles) -> str:
    """Return the name of a layout that `convert` reads; empty if it is none of these."""
    return next((program for program, test in _LAYOUTS.items() if any(map(test, files.names))), "")


def _gguf(files: DeltaFiles) -> str:
    if any(name.endswith((".weight.lora_a", ".weight.lora_b")) for name in files.names):
        return "a LoRA in the GGUF layout, by its names ….weight.lora_a, ….weight.lora_b"
    return ""


def _is_lycoris(name: str) -> bool:
    return ".hada_" in name or ".lokr_" in name


_LAYOUTS: dict[str, Callable[[str], bool]] = {
    "a file of LyCORIS, by its names lycoris_…": lambda name: name.startswith("lycoris_"),
    "a file of LyCORIS, by its names lora_unet_….hada_w1_a, lora_te_….lokr_w1": (
        lambda name: name.startswith(("lora_", "diffusion_model.")) and _is_lycoris(name)
    ),
    "a LoRA in ComfyUI's layout, by its names diffusion_model.….lora_A": (
        lambda name: name.startswith("diffusion_model.") and ".lora_" in name
    ),
    "a LoRA that MLX trained, by its names ….lora_a, ….lora_b": (lambda name: name.endswith((".lora_a", ".lora_b"))),
}


def _architecture(files: DeltaFiles) -> str:
    inner = (adapter_config(files) or {}).get("config")
    value = cast("dict[str, object]", inner).get("architecture") if isinstance(inner, dict) else None
    return str(value)[:40] if value else "bottleneck"
