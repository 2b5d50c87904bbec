"""Ask a real vLLM all questions and keep its answers, for the stub to be held to.

Run it with `DELTAREG_TEST_VLLM=…/bin/vllm python -m tests.vllm.record`.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.vllm.models import make_base, make_lora, make_refused
from tests.vllm.questions import MAX_RANK, ask_all, write_recorded
from tests.vllm.real_server import NAME, program, real_vllm


def main() -> None:
    """Record, and say how many answers there are."""
    found = program()
    if found is None:
        sys.exit("name the program: DELTAREG_TEST_VLLM=…/bin/vllm")
    version = subprocess.run(
        [found.parent / "python", "-c", "import importlib.metadata as m; print(m.version('vllm'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    with TemporaryDirectory(dir=Path.cwd()) as made:
        folder = Path(made)
        base = make_base(folder / "base", seed=1)
        adapters = {"one": make_lora(base, folder / "one", seed=2), "two": make_lora(base, folder / "two", seed=3)}
        adapters |= make_refused(base, folder / "refused")
        options = ("--max-loras", "1", "--max-lora-rank", str(MAX_RANK))
        with real_vllm(base, folder / "log", *options) as server:
            answers = ask_all(server.url, adapters, NAME)
    write_recorded(version, answers)
    sys.stdout.write(f"{len(answers)} answers of vLLM {version}\n")


if __name__ == "__main__":
    main()
