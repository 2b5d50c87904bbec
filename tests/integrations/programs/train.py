"""A training script as somebody writes it, with the callback: slow enough to be broken off."""

import json
import sys
import time

from transformers import TrainerCallback

from deltareg.integrations.transformers import PushCallback
from tests.integrations.training import trainer


class Slow(TrainerCallback):
    """Let each step take a while."""

    def __init__(self, seconds):
        self._seconds = seconds

    def on_step_end(self, *_, **__):
        time.sleep(self._seconds)


given = json.loads(sys.argv[1])
callback = PushCallback(given["line"], base="tinyllama", **given.get("push", {}))
run = trainer(
    given["folder"],
    callback,
    Slow(given.get("seconds", 0)),
    save_strategy=given["strategy"],
    save_steps=1,
    max_steps=given["steps"],
)
run.train(resume_from_checkpoint=given.get("goes_on", False))
print(json.dumps({"versions": callback.versions, "steps": run.state.global_step}))
