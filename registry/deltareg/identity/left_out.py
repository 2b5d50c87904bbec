"""Which files of a folder a delta leaves out, by name: hidden files and a trainer's state.

One list for pushing a folder and for answering which of its files to send.
"""

from deltareg.identity.carried import ARCHIVES, CODE, PICKLES, is_carried

LEFT_FOLDERS = ("checkpoint-", "global_step", "runs", "wandb", "onnx", "openvino", "coreml")
_TRAINER_FILES = frozenset(
    {
        "trainer_state.json",
        "training_args.bin",
        "training_args.json",
        "optimizer.pt",
        "optimizer.bin",
        "scheduler.pt",
        "scheduler.bin",
        "scaler.pt",
        "latest",
        "zero_to_fp32.py",
    }
)
_TRAINER_PREFIXES = ("rng_state", "events.out.tfevents", "optimizer.", "scheduler.")
_CHECKPOINT = "last-checkpoint"


def is_trainer_state(name: str) -> bool:
    """Whether a file of this name, without folders, is a trainer's state for resuming."""
    return name in _TRAINER_FILES or name.startswith(_TRAINER_PREFIXES)


def is_sent(path: str) -> bool:
    """Whether to send a file of a repository: files left out are not sent, refused ones are.

    Code, archives and pickles are sent and then refused by name, since leaving them out would
    change the delta.
    """
    *folders, name = path.split("/")
    if any(f.startswith((".", *LEFT_FOLDERS)) or f == _CHECKPOINT for f in folders):
        return False
    if name.startswith(".") or is_trainer_state(name):
        return False
    return is_carried(path) or name.endswith((*CODE, *ARCHIVES, *PICKLES))
