"""How LoRA files of image tools spell a tensor's name: a prefix, a module, a role."""

from dataclasses import dataclass

from deltareg.delta.kinds import kohya

DOTTED = "diffusion_model."
UNDERSCORED = (*kohya.PREFIXES, "lycoris_")
PREFIXES = (DOTTED, *UNDERSCORED)
_ROLES = (
    "lora_up.weight",
    "lora_down.weight",
    "lora_mid.weight",
    "lora_A.weight",
    "lora_B.weight",
    "alpha",
    "dora_scale",
    "hada_w1_a",
    "hada_w1_b",
    "hada_w2_a",
    "hada_w2_b",
    "hada_t1",
    "hada_t2",
    "lokr_w1",
    "lokr_w1_a",
    "lokr_w1_b",
    "lokr_w2",
    "lokr_w2_a",
    "lokr_w2_b",
    "lokr_t2",
)


@dataclass(frozen=True, slots=True)
class ImageTensorName:
    """A tensor's name, split into its parts.

    Attributes:
        module: The module with its prefix.
        role: The tensor's role in the module.
    """

    module: str
    role: str


def split(name: str) -> ImageTensorName | None:
    """Split a name into its parts; None for one that no image tool writes."""
    role = next((role for role in _ROLES if name.endswith(f".{role}")), "")
    is_ours = role and name.startswith(PREFIXES)
    return ImageTensorName(name.removesuffix(f".{role}"), role) if is_ours else None
