"""A training whose weights are spread over two processes, with the callback on each of them."""

import json
import sys
from pathlib import Path

import torch.distributed as dist

from deltareg.integrations.transformers import PushCallback
from tests.integrations.training import trainer

line, strategy, folder = sys.argv[1:]
callback = PushCallback(line, base="tinyllama", always_push=True)
run = trainer(
    Path(folder) / "out",
    callback,
    fsdp=True,
    fsdp_config={"state_dict_type": "FULL_STATE_DICT"},
    save_strategy=strategy,
    save_steps=2,
    max_steps=4,
)
run.train()
told = {"versions": callback.versions, "is_first": run.is_world_process_zero()}
Path(folder, f"{dist.get_rank()}.json").write_text(json.dumps(told))
dist.destroy_process_group()
