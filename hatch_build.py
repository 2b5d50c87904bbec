"""Compiles the codec's inner loops at installation, where a C compiler is at hand.

Without one, or with `DELTAREG_KERNEL=numpy`, the wheel is pure Python and the same loops run in
NumPy: slower, with the same bytes. With `DELTAREG_KERNEL=native` a build that cannot compile fails,
as one must whose wheels are released. The library is loaded by ctypes and knows nothing of Python's
ABI, so one wheel for a platform serves every Python.
"""

import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("registry", "deltareg", "codec", "kernel.c")
LIBRARY = SOURCE.with_name("_kernel.so")
FLAGS = ("-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra")


class KernelBuildHook(BuildHookInterface[Any]):
    """Hatchling finds it by being the only hook in this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before files are gathered; for an editable install, into the source tree."""
        root = Path(self.root)
        told = _compile(root / SOURCE, root / LIBRARY)
        if told and os.environ.get("DELTAREG_KERNEL") == "native":
            raise RuntimeError(f"DELTAREG_KERNEL=native is set, and the codec's loops: {told}")
        if told:
            Path(root, LIBRARY).unlink(missing_ok=True)  # of another release, perhaps
            self.app.display_warning(f"the codec's loops will run in NumPy: {told}")
            return
        if version != "editable":
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"
            build_data["artifacts"].append(LIBRARY.as_posix())


def _compile(source: Path, library: Path) -> str:
    """Compile; gives why that was not possible, or nothing."""
    if os.environ.get("DELTAREG_KERNEL") == "numpy":
        return "DELTAREG_KERNEL=numpy is set"
    compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("cc") or ""]
    if not compiler[0]:
        return "no C compiler was found; install one, or set CC"
    # Next to its place and renamed: two installations at once each get a whole file.
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        made = Path(scratch, library.name)
        command = [*compiler, *FLAGS, "-o", str(made), str(source)]
        try:
            # The compiler is the one that whoever installs has named.
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        except OSError as error:
            return f"{compiler[0]}: {error.strerror}"
        if done.returncode:
            return f"{shlex.join(command)} failed: {done.stderr.strip()}"
        made.replace(library)
    return ""
