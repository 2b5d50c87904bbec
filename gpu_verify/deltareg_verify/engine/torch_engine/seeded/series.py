"""Series of numbers for networks that forecast, and histories for those that decide."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import torch

from deltareg_verify.engine.torch_engine.seeded.network_draw import NetworkDraw, has

Inputs = dict[str, torch.Tensor]
_STEPS = 8  # of a history, where the network takes any number


def draw_series(draw: NetworkDraw) -> Inputs:
    """Draw a series or a history; empty for a network that takes neither."""
    takes, config = draw.takes, draw.config
    if "states" in takes and has(config, "state_dim", "act_dim"):
        return _history(draw)
    if "past_values" not in takes:
        return {}
    if "past_time_features" in takes and has(config, "lags_sequence", "prediction_length"):
        return _with_calendar(draw)
    if has(config, "context_length", "num_input_channels"):
        return {"past_values": draw.normal(draw.rows, config.context_length, config.num_input_channels)}
    if has(config, "context_length", "patch_length"):  # TimesFM, whose series are one number a step
        steps = min(config.context_length, _STEPS * config.patch_length)
        return {"past_values": draw.normal(draw.rows, steps)}
    return {}


def _history(draw: NetworkDraw) -> Inputs:
    """Draw what was seen, done and gained, step by step (Decision Transformer)."""
    config, rows = draw.config, draw.rows
    steps = min(_STEPS, config.max_ep_len)
    return {
        "states": draw.normal(rows, steps, config.state_dim),
        "actions": draw.normal(rows, steps, config.act_dim),
        "rewards": draw.normal(rows, steps, 1),
        "returns_to_go": draw.normal(rows, steps, 1),
        "timesteps": torch.arange(steps).repeat(rows, 1),
        "attention_mask": torch.ones((rows, steps), dtype=torch.long),
    }


def _with_calendar(draw: NetworkDraw) -> Inputs:
    """Draw past and future of a series, with what is known of its times and of itself."""
    config, rows = draw.config, draw.rows
    width = () if config.input_size == 1 else (config.input_size,)
    past, future = config.context_length + max(config.lags_sequence), config.prediction_length
    inputs = {
        "past_values": draw.normal(rows, past, *width),
        "past_time_features": draw.normal(rows, past, config.num_time_features),
        "past_observed_mask": torch.ones((rows, past, *width)),
        "future_values": draw.normal(rows, future, *width),
        "future_time_features": draw.normal(rows, future, config.num_time_features),
    }
    if config.num_static_categorical_features:
        classes = [draw.whole(count, rows, 1) for count in config.cardinality]
        inputs["static_categorical_features"] = torch.cat(classes, dim=1)
    if config.num_static_real_features:
        inputs["static_real_features"] = draw.normal(rows, config.num_static_real_features)
    return inputs
