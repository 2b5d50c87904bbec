"""The layouts that `convert` reads and writes."""

from collections.abc import Callable
from pathlib import Path

from deltareg.client.bases.bases import KnownBase
from deltareg.client.convert import experts, image_names, lycoris, mlx, to_diffusers, to_gguf, to_mlx, to_peft
from deltareg.client.convert.lora import ConvertedLora
from deltareg.client.convert.writing import Conversion
from deltareg.client.folders.folder import Folder
from deltareg.errors import InvalidInput

PUSHED = "peft"


def _plan_push(lora: ConvertedLora, known: KnownBase) -> Conversion:
    if to_diffusers.is_wanted(lora, known):
        return to_diffusers.plan(lora, known)
    return to_peft.plan(lora, known)


WRITERS: dict[str, Callable[[ConvertedLora, KnownBase], Conversion]] = {
    PUSHED: _plan_push,
    "mlx": to_mlx.plan,
    "gguf": to_gguf.plan,
    "fused-experts": experts.fuse,
    "per-expert": experts.split,
}
_Test = Callable[[Folder, KnownBase], bool]
_Reader = Callable[[Folder, KnownBase], ConvertedLora]
_READERS: tuple[tuple[_Test, _Reader], ...] = (
    (lambda folder, _: mlx.is_in(folder), mlx.read),
    (image_names.is_in, image_names.read),
)


def check_layout(layout: str, to: Path) -> None:
    """Refuse an unknown layout, or a target that cannot be its folder.

    Raises:
        InvalidInput: The layout or the target is refused.
    """
    if layout not in WRITERS:
        names = ", ".join(WRITERS)
        raise InvalidInput(f"no layout is called {layout[:40]!r}", fix=f"one of {names}")
    if to.name.endswith((".gguf", ".safetensors")):
        raise InvalidInput(
            f"{to} is the name of a file, and what is written is a folder", fix=f"--out {to.with_suffix('')}"
        )


def plan_of_foreign(folder: Folder, known: KnownBase, layout: str) -> Conversion | None:
    """Plan the conversion of a folder that no kind reads; None if a kind may read it.

    Raises:
        Refused: It has such a layout, and something is wrong with it.
        InvalidInput: It cannot be expressed in the requested layout.
    """
    if lycoris.is_in(folder):
        if layout != PUSHED:
            message = "LoHa and LoKr have a form in peft's layout alone"
            raise InvalidInput(message, fix="leave --to out")
        return lycoris.plan(folder, known)
    reader = next((read for is_in, read in _READERS if is_in(folder, known)), None)
    return None if reader is None else WRITERS[layout](reader(folder, known), known)
