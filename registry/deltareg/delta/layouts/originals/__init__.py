"""Names that modules had in a model's original code, where diffusers renamed or split them.

Trainers of images and videos that came before diffusers, and ComfyUI, name a LoRA's modules as the
code did with which the model was published: `double_blocks.0.img_attn.qkv`, `input_blocks.4.1`. A
base's class, config and weights determine which of its modules such a name means.
"""

from deltareg.delta.layouts.originals.original import OriginalModule
from deltareg.delta.layouts.originals.table import by_path, by_spelling

__all__ = ["OriginalModule", "by_path", "by_spelling"]
