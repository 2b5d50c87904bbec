"""A real vLLM, run as its users run it: by the program that DELTAREG_TEST_VLLM names."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

PROGRAM = "DELTAREG_TEST_VLLM"
NAME = "tiny"
_HEALTHY_S, _END_S = 900.0, 30.0


@dataclass
class RealVllm:
    """A vLLM that was started."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def is_healthy(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/health", timeout=5, verify=False).is_success
        return False

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + _HEALTHY_S
        while not self.is_healthy():
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            assert time.monotonic() < deadline, self.log.read_text()[-4000:]
            time.sleep(0.5)

    def kill(self) -> None:
        """End it and all that it started at once, as when a machine runs out of memory."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_END_S)

    def stop(self) -> None:
        """End it as an operator would."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_END_S)
        self.kill()


def program() -> Path | None:
    """Give vLLM's program, where one is named."""
    named = os.environ.get(PROGRAM)
    return Path(named) if named else None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def start(
    base: Path, folder: Path, *options: str, port: int | None = None, environ: Mapping[str, str] | None = None
) -> RealVllm:
    """Start it on a base, in a group of processes of its own; `wait` waits until it serves."""
    found = program()
    assert found is not None
    port = port or free_port()
    told = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"vllm-{port}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [
                found,
                "serve",
                base,
                "--served-model-name",
                NAME,
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--enable-lora",
                "--enforce-eager",
                "--dtype",
                "bfloat16",
                *options,
            ],
            env=os.environ | told | dict(environ or {}),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    return RealVllm(f"http://127.0.0.1:{port}", process, log)


@contextmanager
def real_vllm(base: Path, folder: Path, *options: str) -> Iterator[RealVllm]:
    """Run it while the block lasts."""
    server = start(base, folder, *options)
    try:
        server.wait()
        yield server
    finally:
        server.stop()
