"""LoRA as peft writes it, with its variants rsLoRA, DoRA, PiSSA and OLoRA.

W + s·B·A over linear layers, GPT-2's Conv1D, convolutions and embeddings; s = alpha / r, or
alpha / sqrt(r) when rank-stabilised. The formulas and their sources are in
`deltareg.delta.maths.updates`.
"""

from typing import ClassVar

from deltareg.delta.kind import BaseView, DeltaFiles, Match
from deltareg.delta.layouts.peft.activated import invocation
from deltareg.delta.layouts.peft.config import CONFIG_FILE, adapter_config, missing_config, peft_type
from deltareg.delta.layouts.peft.keys import PREFIX
from deltareg.delta.layouts.peft.lora_delta import LoraDelta, read_lora
from deltareg.delta.layouts.peft.marks import is_adapterhub, marks


class LoraReader:
    """The reader of such folders."""

    name: ClassVar[str] = "lora"
    layout: ClassVar[str] = "peft LORA"

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        declared = peft_type(files)
        if invocation(adapter_config(files)):
            return None
        if declared:
            evidence = f'peft_type "LORA" in {CONFIG_FILE}'
            return Match(cls.name, evidence, 3) if declared == "LORA" else None
        if is_adapterhub(files) or "LORA" not in marks(files.names):
            return None
        has_prefix = any(name.startswith(PREFIX) for name in files.names)
        return Match(cls.name, "tensor names lora_A, lora_B", 2) if has_prefix else None

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> LoraDelta:
        config = adapter_config(files)
        if config is None:
            raise missing_config()
        return read_lora(config, files, base)
