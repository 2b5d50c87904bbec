"""The UNet of Stable Diffusion: CompVis numbers blocks through, diffusers by resolution.

`input_blocks.4.1` is the attention of the fourth block of the way down, which diffusers calls
`down_blocks.1.attentions.0` where two blocks and a step down make a resolution. The base's own
modules show which blocks there are and which of them attend; its config says how many make a
resolution.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import accumulate

from deltareg.delta.layouts.originals.original import OriginalModule
from deltareg.documents.json_values import is_count, is_list

_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_IN_RESNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_BLOCK = re.compile(
    r"(?P<way>down|up)_blocks\.(?P<block>\d{1,3})\."
    r"(?P<sort>resnets|attentions|downsamplers|upsamplers)\.(?P<at>\d{1,3})\.(?P<rest>.+)"
)
_MOST = 1000
_MIDDLE = re.compile(r"mid_block\.(?P<sort>resnets|attentions)\.(?P<at>\d{1,3})\.(?P<rest>.+)")


def originals(modules: Collection[str], config: Mapping[str, object]) -> Iterator[tuple[str, OriginalModule]]:
    """Yield the original path of each module of a UNet, with the module.

    Args:
        modules: Paths of all modules with a matrix or a kernel.
        config: Its `config.json`.
    """
    sizes = _sizes(config)
    attending = {".".join(module.split(".")[:3]) for module in modules}
    for module in modules:
        path = _OUTSIDE.get(module) or _middle(module)
        if not path and sizes:
            path = _in_block(module, sizes, attending)
        if path:
            yield path, OriginalModule((module,))


def _sizes(config: Mapping[str, object]) -> list[int]:
    """Return the number of layers of each resolution on the way down; empty if unknown."""
    declared, kinds = config.get("layers_per_block"), config.get("down_block_types")
    blocks = len(kinds) if is_list(kinds) else 0
    sizes = declared if is_list(declared) else [declared] * blocks
    counts = [size for size in sizes if is_count(size, below=_MOST) and size]
    return counts if len(counts) == len(sizes) == blocks else []


def _middle(module: str) -> str:
    match = _MIDDLE.fullmatch(module)
    if match is None:
        return ""
    is_resnet, at = match["sort"] == "resnets", int(match["at"])
    inner = _IN_RESNET.get(match["rest"], "") if is_resnet else match["rest"]
    return f"middle_block.{2 * at + (not is_resnet)}.{inner}" if inner else ""


def _in_block(module: str, sizes: list[int], attending: Collection[str]) -> str:
    match = _BLOCK.fullmatch(module)
    if match is None or int(match["block"]) >= len(sizes):
        return ""
    is_down, block, at, rest = match["way"] == "down", int(match["block"]), int(match["at"]), ""
    # Up there is one layer more in each; down, the step to the next resolution counts as one.
    counts = [size + 1 for size in (sizes if is_down else reversed(sizes))]
    first = [0, *accumulate(counts)][block]
    has_attention = f"{match['way']}_blocks.{block}.attentions" in attending
    number = first + (at if match["sort"] in {"resnets", "attentions"} else counts[block] - 1)
    match match["sort"]:
        case "resnets":
            rest = f"0.{_IN_RESNET[match['rest']]}" if match["rest"] in _IN_RESNET else ""
        case "attentions":
            rest = f"1.{match['rest']}"
        case "downsamplers":
            rest = "0.op" if match["rest"] == "conv" else ""
        case _:
            rest = f"{1 + has_attention}.conv" if match["rest"] == "conv" else ""
    if not rest:
        return ""
    return f"input_blocks.{1 + number}.{rest}" if is_down else f"output_blocks.{number}.{rest}"
