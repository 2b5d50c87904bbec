"""Records golden outputs by the library that wrote a delta, in a process of its own."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path

from deltareg.errors import Misconfigured
from deltareg_cli.invocation import Invocation
from deltareg_cli.runs.launch import ask, missing_of

ENVIRON = {"HF_HUB_OFFLINE": "1"}
"""A base is read from this disk; nothing is asked of a hub."""
_PACKAGES = {"kohya": "diffusers"}
_ON_THE_WAY_S = 180.0


class LibraryRecorder:
    """Records golden outputs during a push, where everything for it is at hand and time allows."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation

    def __call__(self, folder: Path, base: Path, *, library: str, convention: str) -> None:
        """Write `deltareg-golden.json` into the folder."""
        lacking = missing_of("verify")
        package = _PACKAGES.get(library, library)
        if not lacking and importlib.util.find_spec(package) is None:
            lacking = [package]
        if lacking:
            raise Misconfigured(f"{lacking[0]} is not installed here")
        note = f"recording golden outputs by {package} (deltareg-golden.json); --no-golden does not"
        self._invocation.output.note(note)
        request = {"delta": folder.absolute(), "base": base, "convention": convention}
        record(self._invocation, request, timeout_s=_ON_THE_WAY_S)


def record(
    invocation: Invocation, request: Mapping[str, object], *, timeout_s: float | None = None
) -> Mapping[str, object]:
    """Record outputs in a process, and return its report.

    Args:
        invocation: The command's invocation.
        request: The fields of `deltareg_verify.workbench.golden_recording.GoldenRequest`.
        timeout_s: How long it may take.

    Raises:
        DeltaregError: The recording failed.
    """
    fields = {"cache": invocation.config.cache_dir, **request}
    words = json.dumps(fields, default=str)
    return ask("golden", words, environ=ENVIRON, timeout_s=timeout_s)
