"""Deltas by number: the same number gives the same bytes, another number gives others."""

import hashlib
import shutil
import threading

import numpy as np

from tests.conftest import REPOSITORY

SAMPLES = REPOSITORY / "tests" / "samples"
BASE = SAMPLES / "bases" / "tinyllama"
_LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
_WEIGHTS = "adapter_model.safetensors"


def payload(folder, number):
    """Write a LoRA delta of `BASE` into a folder: a real one with other weights."""
    target = folder / f"delta-{number}"
    if target.exists():
        return target
    folder.mkdir(exist_ok=True)
    draft = folder / f".delta-{number}-{threading.get_ident()}"
    shutil.copytree(_LORA, draft)
    raw = (_LORA / _WEIGHTS).read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    weights = np.random.default_rng(number).normal(0, 0.02, (len(raw) - start) // 4)
    (draft / _WEIGHTS).write_bytes(raw[:start] + weights.astype("<f4").tobytes())
    try:
        draft.rename(target)
    except OSError:  # another thread was quicker, with the same bytes
        shutil.rmtree(draft)
    return target


def content(folder):
    """Give the sha256 of every file of a folder by its path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def objects(root):
    """Give the keys of all objects in a store's folder."""
    folder = root / "blobs"
    found = {path.relative_to(root).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {key for key in found if not key.startswith("blobs/log/")}  # no version's: checkpoints
