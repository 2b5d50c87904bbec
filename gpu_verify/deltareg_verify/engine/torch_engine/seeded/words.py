"""Token ids, and what some networks take beside them."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Mapping

import torch
from transformers import PretrainedConfig

from deltareg_verify.engine.torch_engine.seeded.network_draw import NetworkDraw

Inputs = dict[str, torch.Tensor]
_LENGTHS = ("max_position_embeddings", "max_target_positions")
_CODE_POINTS = 0xD800  # of Unicode before the surrogates, for a network that reads characters
_ENTITIES, _MENTION = 2, 2  # a row, and words of each
_OBJECTS = 3  # that an image has, for a network that takes them found
_CHOICES = 2


def draw_words(draw: NetworkDraw) -> Inputs:
    """Draw token ids with their mask; empty for a network that takes none."""
    if "input_ids" not in draw.takes:
        return {}
    ids = draw_ids(draw, draw.tokens)
    words = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "qformer_input_ids" in draw.takes:  # the instruction that InstructBLIP's queries read beside the image
        asked = draw.whole(draw.part("qformer_config").vocab_size, *ids.shape)
        words |= {"qformer_input_ids": asked, "qformer_attention_mask": torch.ones_like(asked)}
    return words


def draw_ids(draw: NetworkDraw, tokens: int) -> torch.Tensor:
    """Draw (rows, tokens) token ids, cut to what the network takes at once."""
    config: PretrainedConfig = draw.config.get_text_config()
    vocabulary = count_tokens(config)
    lengths = (getattr(config, name, None) for name in _LENGTHS)
    length = max(2, min([tokens, *(most for most in lengths if most and most > 0)]))
    ids = draw.random.integers(0, vocabulary, (draw.rows, length))
    end = getattr(config, "eos_token_id", None)
    if isinstance(end, int) and end < vocabulary:
        # CLIP pools at the first end token, and classifiers at the last: each row has just one.
        ids[ids == end] = (end + 1) % vocabulary
        ids[:, -1] = end
    return torch.from_numpy(ids)


def count_tokens(config: PretrainedConfig) -> int:
    """Return how many tokens a network knows; one that hashes characters knows all of them."""
    return int(getattr(config, "vocab_size", None) or _CODE_POINTS)


def draw_beside(draw: NetworkDraw, inputs: Mapping[str, torch.Tensor]) -> Inputs:
    """Draw what reaches parts that words alone do not: entities, segments, boxes, global attention."""
    beside: Inputs = {}
    takes, ids = draw.takes, inputs.get("input_ids")
    for name, give in _BESIDE.items():
        if ids is not None and name in takes and name not in inputs:
            beside |= give(draw, ids)
    return beside


def _global_attention(_draw: NetworkDraw, ids: torch.Tensor) -> Inputs:
    """Let the first token look at all others, as its library's examples do (Beltagy et al. 2020, section 3.1)."""
    mask = torch.zeros_like(ids)
    mask[:, 0] = 1
    return {"global_attention_mask": mask}


def _entities(draw: NetworkDraw, ids: torch.Tensor) -> Inputs:
    """Name entities with the places of their mentions (Yamada et al. 2020, section 3.1)."""
    shape = (draw.rows, _ENTITIES)
    mention = getattr(draw.config, "max_mention_length", 30)
    places = torch.full((*shape, mention), -1)
    words = min(_MENTION, mention)
    for entity in range(_ENTITIES):
        first = min(1 + entity * words, ids.shape[1] - words)
        places[:, entity, :words] = torch.arange(first, first + words)
    return {
        "entity_ids": draw.whole(draw.config.entity_vocab_size - 1, *shape) + 1,  # zero is padding
        "entity_attention_mask": torch.ones(shape, dtype=torch.long),
        "entity_position_ids": places,
        **_spans(draw, ids),
    }


def _spans(draw: NetworkDraw, _ids: torch.Tensor) -> Inputs:
    starts = 1 + torch.arange(_ENTITIES).repeat(draw.rows, 1) * _MENTION
    spans = {"entity_start_positions": starts, "entity_end_positions": starts + _MENTION - 1}
    return {name: places for name, places in spans.items() if name in draw.takes}


def _segments(_draw: NetworkDraw, ids: torch.Tensor) -> Inputs:
    """Make two segments of a row, as XLNet's biases of segments take part for no row without them."""
    segments = torch.zeros_like(ids)
    segments[:, ids.shape[1] // 2 :] = 1
    return {"token_type_ids": segments}


def _boxes(draw: NetworkDraw, ids: torch.Tensor) -> Inputs:
    most = getattr(draw.config, "max_2d_position_embeddings", 1001) - 1
    corners = draw.whole(max(2, most // 2), *ids.shape, 2)
    return {"bbox": torch.cat([corners, corners + max(1, most // 4)], dim=-1)}


def _shapes_of_characters(draw: NetworkDraw, ids: torch.Tensor) -> Inputs:
    return {"input_shape_ids": draw.whole(draw.config.shape_vocab_size, *ids.shape)}


def _sounds_of_characters(draw: NetworkDraw, ids: torch.Tensor) -> Inputs:
    return {"input_pronunciation_ids": draw.whole(draw.config.pronunciation_vocab_size, *ids.shape)}


def _objects_seen(draw: NetworkDraw, _ids: torch.Tensor) -> Inputs:
    width, places = draw.config.visual_feat_dim, draw.config.visual_pos_dim
    return {
        "visual_feats": draw.normal(draw.rows, _OBJECTS, width),
        "visual_pos": draw.normal(draw.rows, _OBJECTS, places),
    }


def _regions_seen(draw: NetworkDraw, _ids: torch.Tensor) -> Inputs:
    shape = (draw.rows, _OBJECTS)
    return {
        "visual_embeds": draw.normal(*shape, draw.config.visual_embedding_dim),
        "visual_attention_mask": torch.ones(shape, dtype=torch.long),
        "visual_token_type_ids": torch.ones(shape, dtype=torch.long),
    }


def _languages(draw: NetworkDraw, ids: torch.Tensor) -> Inputs:
    is_used = getattr(draw.config, "use_lang_emb", False) and getattr(draw.config, "n_langs", 1) > 1
    return {"langs": torch.ones_like(ids)} if is_used else {}


_BESIDE: Mapping[str, Callable[[NetworkDraw, torch.Tensor], Inputs]] = {
    "global_attention_mask": _global_attention,
    "entity_ids": _entities,
    "perm_mask": _segments,
    "bbox": _boxes,
    "input_shape_ids": _shapes_of_characters,
    "input_pronunciation_ids": _sounds_of_characters,
    "visual_feats": _objects_seen,
    "visual_embeds": _regions_seen,
    "langs": _languages,
}


def by_choices(draw: NetworkDraw, inputs: Mapping[str, torch.Tensor]) -> Inputs:
    """Give every row two texts to choose from, for a class that chooses."""
    if not type(draw.module).__name__.endswith("ForMultipleChoice"):
        return dict(inputs)
    return {
        name: torch.stack([value, *(value.roll(n, 0) for n in range(1, _CHOICES))], dim=1)
        for name, value in inputs.items()
    }
