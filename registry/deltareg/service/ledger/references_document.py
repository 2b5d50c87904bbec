"""The references of a run, as its request has them."""

import json
from collections.abc import Mapping

from deltareg.wire import ReferenceGrant

REFERENCES = "references"
"""Of a run's request: the versions that its suite compares with, as JSON."""


def write_references(references: Mapping[str, ReferenceGrant]) -> dict[str, str]:
    """Return references as entries of a run's request; none where there are none."""
    named = {key: one.to_dict() for key, one in references.items()}
    return {REFERENCES: json.dumps(named, sort_keys=True)} if named else {}


def references_of(request: Mapping[str, str]) -> dict[str, ReferenceGrant]:
    """Read the references of a request."""
    references: dict[str, object] = json.loads(request.get(REFERENCES, "{}"))
    return {key: ReferenceGrant.model_validate(value) for key, value in references.items()}


def digests_of(request: Mapping[str, str]) -> dict[str, str]:
    """Return the manifests of the references that were there, by key."""
    return {key: one.digest for key, one in references_of(request).items() if one.digest}
