"""Names that modules had in a model's original code, where diffusers renamed or split them.

Trainers of images and videos that came before diffusers, and ComfyUI, name a LoRA's modules as the
code did that the model was published with: `double_blocks.0.img_attn.qkv`, `input_blocks.4.1`. What
such a name is in a base of diffusers follows from its class, its config and its own weights.
"""

from deltareg.delta.layouts.originals.original import OriginalModule
from deltareg.delta.layouts.originals.table import by_path, by_spelling

__all__ = ["OriginalModule", "by_path", "by_spelling"]
