"""The engine in torch, transformers and diffusers; no other part of the project imports these."""

from deltareg_verify.engine.torch_engine.alone import StandaloneDelta, load_alone
from deltareg_verify.engine.torch_engine.chatting import template_in, write_chat
from deltareg_verify.engine.torch_engine.device import environment, prepare_device
from deltareg_verify.engine.torch_engine.engine import TorchEngine
from deltareg_verify.engine.torch_engine.head_class import class_with_place
from deltareg_verify.engine.torch_engine.judging import text_losses
from deltareg_verify.engine.torch_engine.load import load_tokenizer
from deltareg_verify.engine.torch_engine.room import MemoryRoom
from deltareg_verify.engine.torch_engine.tokens import BaseTokenizer
from deltareg_verify.engine.torch_engine.training import DeltaTrainer
from deltareg_verify.engine.torch_engine.warm import quieten, warm, warm_for

__all__ = [
    "BaseTokenizer",
    "DeltaTrainer",
    "MemoryRoom",
    "StandaloneDelta",
    "TorchEngine",
    "class_with_place",
    "environment",
    "load_alone",
    "load_tokenizer",
    "prepare_device",
    "quieten",
    "template_in",
    "text_losses",
    "warm",
    "warm_for",
    "write_chat",
]
