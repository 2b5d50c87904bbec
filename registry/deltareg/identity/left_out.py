"""Which files of a folder are left out of a delta, by their names: hidden ones, a trainer's state.

One list for who pushes a folder and for who is asked what of it to send.
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
    """Whether a file of that name, without folders, is what a trainer goes on from."""
    return name in _TRAINER_FILES or name.startswith(_TRAINER_PREFIXES)


def is_sent(path: str) -> bool:
    """Whether a file of a repository is to be sent: what is left out is not, what is refused is.

    Code, archives and pickles are sent to be refused by name, for leaving them out would change
    what the delta is.
    """
    *folders, name = path.split("/")
    if any(f.startswith((".", *LEFT_FOLDERS)) or f == _CHECKPOINT for f in folders):
        return False
    if name.startswith(".") or is_trainer_state(name):
        return False
    return is_carried(path) or name.endswith((*CODE, *ARCHIVES, *PICKLES))
