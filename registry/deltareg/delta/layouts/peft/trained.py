"""The network that was trained, by the config, compared with the class of the base."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.delta.kind import BaseView
from deltareg.delta.layouts.peft.config import auto_class

_CLASS_OF_TASK = {"CAUSAL_LM": ("ForCausalLM", "LMHeadModel"), "SEQ_2_SEQ_LM": ("ForConditionalGeneration",)}
# Tasks whose classes put a head on the plain network, which is then below an attribute of theirs.
_HEADED = frozenset({"CAUSAL_LM", "SEQ_2_SEQ_LM", "SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS"})


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """The network that was trained.

    Attributes:
        on: The class or the task that the config names; may be empty.
        is_base_class: Whether it has every module of the class that the base's config names.
        is_headed: Whether it has the plain network below an attribute of its own.
    """

    on: str = ""
    is_base_class: bool = False
    is_headed: bool = False


def read_trained(config: Mapping[str, object], base: BaseView) -> TrainedNetwork:
    """Read `auto_mapping` and `task_type`."""
    architecture, declared = base.names.architecture, auto_class(config)
    if declared:
        is_same = declared == architecture
        return TrainedNetwork(declared, is_same, is_headed=is_same)
    task = config.get("task_type")
    if not isinstance(task, str):
        return TrainedNetwork()
    endings = _CLASS_OF_TASK.get(task, ())
    is_same = architecture.endswith(endings) if endings else False
    return TrainedNetwork(task, is_same, is_headed=task in _HEADED)
