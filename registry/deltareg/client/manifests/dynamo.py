"""NVIDIA Dynamo: a `DynamoModel` that its operator loads into every worker of a base.

Its source is `hf://ORG/MODEL@REVISION`, which the workers fetch by the hub's protocol, from the
registry if HF_ENDPOINT names it. After the CRD `nvidia.com/v1alpha1` of Dynamo.
"""

from collections.abc import Sequence
from typing import ClassVar

from deltareg.client.manifests.form import ExportOptions, Manifest, require_value, resource
from deltareg.client.manifests.served_names import ServedVersion


class Dynamo:
    """Writes a `DynamoModel`."""

    name: ClassVar[str] = "dynamo"
    takes: ClassVar[frozenset[str]] = frozenset({"base_model"})

    def write(
        self, served: ServedVersion, options: ExportOptions, *, beside: ServedVersion | None
    ) -> Sequence[Manifest]:
        """Write a manifest that names the version for good, and its bytes by their digest."""
        spec = {
            "modelName": served.name,
            "baseModelName": require_value(options.base_model, "--base-model", "what Dynamo serves the base as"),
            "modelType": "lora",
            "source": {"uri": f"hf://{served.line}@{served.commit}"},
        }
        return [resource("nvidia.com/v1alpha1", "DynamoModel", served, spec)]
