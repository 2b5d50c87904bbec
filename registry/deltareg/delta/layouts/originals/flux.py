"""The transformer of Flux: its authors keep q, k and v in one weight, diffusers in three.

In a single block the first weight is q, k, v and the way into the perceptron. The last modulation
gives shift and scale in its original, scale and shift in diffusers.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from deltareg.delta.layouts.originals.original import OriginalModule

_OUTSIDE = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
}
_LAST_MODULATION = ("final_layer.adaLN_modulation.1", "norm_out.linear")
_DOUBLE = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "img_attn.proj": ("attn.to_out.0",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "img_mod.lin": ("norm1.linear",),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "txt_attn.proj": ("attn.to_add_out",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "txt_mod.lin": ("norm1_context.linear",),
}
_SINGLE = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation.lin": ("norm.linear",),
}
_BLOCKS = {"transformer_blocks": ("double_blocks", _DOUBLE), "single_transformer_blocks": ("single_blocks", _SINGLE)}
_BLOCK = re.compile(r"(transformer_blocks|single_transformer_blocks)\.(\d{1,4})\..+")


def originals(modules: Collection[str], _: Mapping[str, object]) -> Iterator[tuple[str, OriginalModule]]:
    """Yield the original path of each module of a Flux, with the module.

    Args:
        modules: Paths of all modules with a matrix or a kernel.
    """
    yield from ((path, OriginalModule((module,))) for path, module in _OUTSIDE.items())
    yield _LAST_MODULATION[0], OriginalModule((_LAST_MODULATION[1],), is_turned=True)
    for above, number in {m.groups() for module in modules if (m := _BLOCK.fullmatch(module))}:
        block_name, parts = _BLOCKS[above]
        for path, members in parts.items():
            whole = tuple(f"{above}.{number}.{module}" for module in members)
            yield f"{block_name}.{number}.{path}", OriginalModule(whole)
