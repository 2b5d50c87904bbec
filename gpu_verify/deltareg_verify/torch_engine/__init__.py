"""The engine in torch, transformers and diffusers; no other part of the project imports these."""

from deltareg_verify.torch_engine.device import environment, prepare_device
from deltareg_verify.torch_engine.engine import TorchEngine
from deltareg_verify.torch_engine.headed import class_with_place
from deltareg_verify.torch_engine.room import Room
from deltareg_verify.torch_engine.warm import quieten, warm, warm_for

__all__ = [
    "Room", "TorchEngine", "class_with_place", "environment", "prepare_device", "quieten", "warm",
    "warm_for",
]  # fmt: skip
