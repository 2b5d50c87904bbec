"""Sounds: spectrograms and waveforms, as feature extractors of transformers make them."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
from collections.abc import Sequence

import torch
from torch import nn
from transformers import PretrainedConfig

from deltareg_verify.engine.torch_engine.seeded.network_draw import NetworkDraw, has

Inputs = dict[str, torch.Tensor]
_PARTS = ("audio_config", "encoder", "encoder_config", "speech_config")
_STRIDE = 2  # of convolutions over frames: two of these make one position
_LONG = 64  # frames of a sound that a network shortens before it reads it
_FRAMES = 16  # positions that a sound is to give, where the network does not say how many
_MASKS = ("feature_attention_mask", "input_features_mask")
_WIDTHS = ("feature_projection_input_dim", "input_dim", "input_feat_size")


def draw_sounds(draw: NetworkDraw) -> Inputs:
    """Draw sounds, as frames or waveforms; empty where their length is unknown."""
    config, takes = draw.part(*_PARTS), draw.takes
    features = _features(draw, config) if "input_features" in takes else {}
    if features or "input_values" not in takes:
        return features
    if has(config, "hop_length", "sampling_rate") and not has(config, "conv_kernel"):  # a codec, by channels
        channels = getattr(config, "audio_channels", 1)
        return {"input_values": draw.normal(draw.rows, channels, _FRAMES * int(config.hop_length))}
    if has(config, "num_mel_bins", "max_length"):
        return {"input_values": draw.normal(draw.rows, config.max_length, config.num_mel_bins)}
    samples = count_samples(_convolutions(draw, config))
    return {"input_values": draw.normal(draw.rows, samples)} if samples else {}


def _features(draw: NetworkDraw, config: PretrainedConfig) -> Inputs:
    if "is_longer" in draw.takes and has(config, "spec_size", "num_mel_bins"):  # CLAP sees a spectrogram as an image
        frames = config.spec_size * (config.spec_size // config.num_mel_bins)
        is_fused = bool(getattr(config, "enable_fusion", False))  # a long sound comes whole and in three parts
        sound = draw.normal(draw.rows, 4 if is_fused else 1, frames, config.num_mel_bins)
        return {"input_features": sound, "is_longer": torch.full((draw.rows, 1), is_fused)}
    frames, bands, is_banded_first = _frames(draw, config)
    if not frames:
        return {}
    sound = draw.normal(draw.rows, *((bands, frames) if is_banded_first else (frames, bands)))
    mask = torch.ones((draw.rows, frames), dtype=torch.long)
    return {"input_features": sound, **{name: mask for name in _MASKS if _is_of_frames(draw, name)}}


def _is_of_frames(draw: NetworkDraw, name: str) -> bool:
    """Return whether a mask is of a sound's frames; Granite's is of the tokens that come of it."""
    make = getattr(draw.inner, "get_audio_features", None)
    return name in draw.takes and (make is None or name in inspect.signature(make).parameters)


def _frames(draw: NetworkDraw, config: PretrainedConfig) -> tuple[int, int, bool]:
    """Return how many frames a sound has, of how many bands, and whether these come first, as in Whisper.

    Zero frames where it is not known.
    """
    if has(config, "num_mel_bins", "max_source_positions"):
        return _STRIDE * config.max_source_positions, config.num_mel_bins, True
    if has(config, "num_mel_bins", "subsampling_factor"):
        return _FRAMES * config.subsampling_factor, config.num_mel_bins, False
    if has(config, "input_feat_per_channel", "num_conv_layers"):
        length = min(_FRAMES, config.max_source_positions) * _STRIDE**config.num_conv_layers
        return length, config.input_feat_per_channel * config.input_channels, False
    if has(config, "num_mel_bins") and config.num_mel_bins in _first_widths(draw):
        return _LONG, config.num_mel_bins, True
    width = next((getattr(config, name) for name in _WIDTHS if has(config, name)), 0)
    return (_FRAMES if width else 0), width, False


def _first_widths(draw: NetworkDraw) -> set[int]:
    """Return what the convolutions of a network take that run over frames."""
    return {child.in_channels for child in draw.module.modules() if isinstance(child, nn.Conv1d)}


def _convolutions(draw: NetworkDraw, config: PretrainedConfig) -> list[tuple[int, int]]:
    """Return (kernel, stride) of the convolutions that a waveform passes, in order.

    Empty where neither the config nor the encoder states them.
    """
    if has(config, "conv_kernel", "conv_stride"):
        return list(zip(config.conv_kernel, config.conv_stride, strict=True))
    encoder = draw.module.get_encoder() if draw.config.is_encoder_decoder else draw.module
    layers = [child for child in encoder.children() if isinstance(child, nn.Conv1d)]
    is_of_waves = bool(layers) and layers[0].in_channels == 1
    return [(x.kernel_size[0], x.stride[0]) for x in layers] if is_of_waves else []


def count_samples(layers: Sequence[tuple[int, int]]) -> int:
    """Return the length of a waveform of which convolutions leave a few frames; 0 without any."""
    length = _FRAMES if layers else 0
    for kernel, stride in reversed(layers):
        length = (length - 1) * stride + kernel
    return length
