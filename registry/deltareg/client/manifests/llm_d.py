"""llm-d: an `InferenceModelRewrite`, by which its router sends requests for a model to a version.

The pods are vLLM servers with this package's plug-in, which loads a version when it is asked for by
name, here by its digest. After the CRD `llm-d.ai/v1alpha2` of llm-d-router.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from deltareg.client.manifests.form import ExportOptions, Manifest, require_value, resource
from deltareg.client.manifests.served_names import ServedVersion

_ALL = 100


class LlmD:
    """Writes an `InferenceModelRewrite`."""

    name: ClassVar[str] = "llm-d"
    takes: ClassVar[frozenset[str]] = frozenset({"pool", "model", "weight"})

    def write(
        self, served: ServedVersion, options: ExportOptions, *, beside: ServedVersion | None
    ) -> Sequence[Manifest]:
        """Write a manifest that sends requests to the version, or to two by their weights."""
        targets: list[Mapping[str, object]] = [{"modelRewrite": served.exact}]
        if beside is not None and options.weight is not None:
            targets = [
                {"modelRewrite": served.exact, "weight": options.weight},
                {"modelRewrite": beside.exact, "weight": _ALL - options.weight},
            ]
        model = options.model or str(served.line)
        spec = {
            "poolRef": {
                "group": "inference.networking.k8s.io",
                "kind": "InferencePool",
                "name": require_value(options.pool, "--pool", "the InferencePool of the pods"),
            },
            "rules": [{"matches": [{"model": {"type": "Exact", "value": model}}], "targets": targets}],
        }
        return [resource("llm-d.ai/v1alpha2", "InferenceModelRewrite", served, spec)]
