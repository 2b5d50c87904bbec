"""What the processes behind `deltareg probe` and a comparison have in common.

The command line starts each of them, with one request in JSON, and it writes one document.
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn

import click

from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.folders.folder import Folder
from deltareg.delta.delta_manifest import Assessment, assess
from deltareg.errors import DeltaregError, IntegrityFailure


def answer(compute: Callable[[], Mapping[str, object]]) -> NoReturn:
    """Write the result of `compute`, or its error, and end the process."""
    try:
        document = compute()
    except DeltaregError as error:
        document = {"error": {"code": error.code, "message": error.message, "fix": error.fix}}
    click.echo(json.dumps(document, allow_nan=False))
    sys.exit(1 if "error" in document else 0)


def assess_stored(delta: Folder, base: BaseFolder) -> Assessment:
    """Account for the tensors of a version that the registry once accepted.

    Raises:
        IntegrityFailure: It is refused now.
    """
    assessment = assess(delta.files, delta.tensors, base.view)
    if assessment.errors:
        raise IntegrityFailure(f"the stored delta is refused now: {assessment.errors[0].message}")
    return assessment
