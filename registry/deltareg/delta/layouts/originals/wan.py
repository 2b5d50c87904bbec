"""The transformer of Wan: same weights, other names."""

import re
from collections.abc import Collection, Iterator, Mapping

from deltareg.delta.layouts.originals.original import OriginalModule

_OUTSIDE = {
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
    "proj_out": "head.head",
}
_ATTENTIONS = {"attn1": "self_attn", "attn2": "cross_attn"}
_IN_ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o", "add_k_proj": "k_img", "add_v_proj": "v_img"}
_IN_BLOCK = {
    **{
        f"{ours}.{module}": f"{theirs}.{path}"
        for ours, theirs in _ATTENTIONS.items()
        for module, path in _IN_ATTENTION.items()
    },
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
}
_BLOCK = re.compile(r"blocks\.(\d{1,4})\.(.+)")


def originals(modules: Collection[str], _: Mapping[str, object]) -> Iterator[tuple[str, OriginalModule]]:
    """Yield the original path of each module of a Wan, with the module.

    Args:
        modules: Paths of all modules with a matrix or a kernel.
    """
    for module in modules:
        match = _BLOCK.fullmatch(module)
        path = _OUTSIDE.get(module, "")
        if match is not None and match[2] in _IN_BLOCK:
            path = f"blocks.{match[1]}.{_IN_BLOCK[match[2]]}"
        if path:
            yield path, OriginalModule((module,))
