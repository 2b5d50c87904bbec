"""The engine in torch, transformers and diffusers; no other part of the project imports these."""

from deltareg_verify.torch_engine.alone import Alone, load_alone
from deltareg_verify.torch_engine.device import environment, prepare_device
from deltareg_verify.torch_engine.engine import TorchEngine
from deltareg_verify.torch_engine.headed import class_with_place
from deltareg_verify.torch_engine.load import load_tokenizer
from deltareg_verify.torch_engine.room import Room
from deltareg_verify.torch_engine.warm import quieten, warm, warm_for

__all__ = [
    "Alone", "Room", "TorchEngine", "class_with_place", "environment", "load_alone",
    "load_tokenizer", "prepare_device", "quieten", "warm", "warm_for",
]  # fmt: skip
