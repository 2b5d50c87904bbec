"""The device: exact arithmetic, repeatable kernels, and its description for the verdict."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import os
import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
import transformers

from deltareg.errors import Inconclusive, Misconfigured
from deltareg_verify.engine.torch_engine.libraries import list_installed

# Read when CUDA starts; with it the same product gives the same bits (cuBLAS manual, 2.1.4).
REPEATABLE_CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# What torch's own allocator says, and oneDNN, which names no reason, when it gets none.
_CPU_OUT_OF_MEMORY = ("can't allocate memory", "could not create a primitive")


def prepare_device(name: str, *, threads: int) -> torch.device:
    """Choose the device and forbid every shortcut that changes results.

    Args:
        name: `cpu`, `cuda:N`, or `auto` for the first GPU if there is one.
        threads: Processor threads; 0 takes all that this process may use.

    Raises:
        Misconfigured: There is no such device.
    """
    device = torch.device(_first_device() if name == "auto" else name)
    if device.type == "cuda":
        os.environ.setdefault(*REPEATABLE_CUBLAS)
        if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
            raise Misconfigured(f"torch sees no device {name}", fix="start the worker with --gpu cpu")
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.use_deterministic_algorithms(mode=True)
    return device


def environment(device: torch.device) -> Mapping[str, str]:
    """Describe software and device."""
    facts = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": str(device),
        "threads": str(torch.get_num_threads()),
        **list_installed(),
    }
    if "diffusers" in sys.modules:  # dear: only those that need it have imported it
        facts["diffusers"] = version("diffusers")
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts["gpu"] = properties.name
        facts["gpu_memory_bytes"] = str(properties.total_memory)
        facts["cuda"] = str(torch.version.cuda)
        facts["cudnn"] = str(torch.backends.cudnn.version())
        facts |= _driver()
    return facts


def finish(device: torch.device) -> None:
    """Wait until a device has finished its work, so that a clock may be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _driver() -> dict[str, str]:
    """Return the version of the GPU's driver, where the kernel reports it."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text("utf-8")
    except OSError:
        return {}
    version = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", text)
    return {} if version is None else {"driver": version[1]}


def peak_bytes(device: torch.device) -> int:
    """Return the most memory held: allocated on a GPU, resident in this process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def memory_seam(what: str) -> Generator[None]:
    """Turn running out of memory into `Inconclusive`: it says nothing about the delta."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _too_little(what) from error
    except RuntimeError as error:
        if any(phrase in str(error) for phrase in _CPU_OUT_OF_MEMORY):
            raise _too_little(what) from error
        raise


def _first_device() -> str:
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _too_little(what: str) -> Inconclusive:
    fix = "run it on a worker with more memory, or raise DELTAREG_WORKER_MEMORY_BYTES"
    return Inconclusive(f"not enough memory while {what}", fix=fix)


def time_calls(call: Callable[[], object], count: int, device: torch.device) -> list[float]:
    """Return the seconds that each of some calls takes on a device, after one that is not counted."""
    times: list[float] = []
    for _ in range(count + 1):
        started = time.perf_counter()
        call()
        finish(device)
        times.append(time.perf_counter() - started)
    return times[1:]
