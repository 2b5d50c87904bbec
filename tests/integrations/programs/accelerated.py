"""A loop of one's own on two processes: a push that works, and one that all have to hear fails."""

import json
import sys
from pathlib import Path

from accelerate import Accelerator, FullyShardedDataParallelPlugin

from deltareg.errors import DeltaregError
from deltareg.integrations import accelerate as registry
from tests.integrations.training import adapter

line, way, out = sys.argv[1:]
plugin = FullyShardedDataParallelPlugin(use_orig_params=True) if way == "fsdp" else None
accelerator = Accelerator(cpu=True, fsdp_plugin=plugin)
model = accelerator.prepare(adapter())
told: dict[str, object] = {}
told["ref"] = registry.push(accelerator, model, line, step=1, base="tinyllama", golden=False)
try:
    registry.push(accelerator, model, line, step=2, base="nobodys", golden=False, strict=True)
except DeltaregError:
    told["failed"] = True
Path(out, f"{accelerator.process_index}.json").write_text(json.dumps(told))
accelerator.end_training()
