"""Records golden outputs by the library that wrote a delta, in a process of its own."""

import json
from collections.abc import Mapping

from deltareg_cli.invocation import Invocation
from deltareg_cli.runs.launch import ask


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
    return ask("golden", words, timeout_s=timeout_s)
