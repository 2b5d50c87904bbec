"""Records what a model computes, in the process that trained it.

::

    from deltareg import golden

    trainer.save_model("adapter")
    golden.record(trainer.model, tokenizer, None, "adapter")

`deltareg push adapter …` includes the recorded outputs, and a verification computes them again. In
a training loop `golden.GoldenCallback(tokenizer)` does the same at each checkpoint that a Trainer
of transformers writes. `golden.FirstBatches(model)`, created before the training, reports anything
odd about the batches; `record` accepts its `seen`, and a `TrainingProgress` that says how far the
training had come. Importing this module imports neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from deltareg.golden.first_batches import FirstBatches
from deltareg.golden.recording import record
from deltareg.suites.golden_file import GOLDEN_FILE
from deltareg.suites.golden_prompts import PROMPTS
from deltareg.suites.training_progress import TrainingProgress

if TYPE_CHECKING:
    from deltareg.golden.trainer import GoldenCallback

__all__ = ["GOLDEN_FILE", "PROMPTS", "FirstBatches", "GoldenCallback", "TrainingProgress", "record"]


def __getattr__(name: str) -> object:
    """Load the callback on first use: it derives from a class of transformers."""
    if name == "GoldenCallback":
        return import_module("deltareg.golden.trainer").GoldenCallback
    raise AttributeError(f"module 'deltareg.golden' has no attribute {name!r}")
