"""KServe: an `LLMInferenceService` with the version as an adapter of its base.

Its storage initializer fetches `hf://ORG/MODEL:REVISION` by the hub's protocol, from the registry
if HF_ENDPOINT names it. Adapters are loaded when the pods start, so a move of the channel is a
rollout. After `serving.kserve.io/v1alpha2`.
"""

from collections.abc import Sequence
from typing import ClassVar

from deltareg.client.manifests.form import ExportOptions, Manifest, require_value, resource
from deltareg.client.manifests.served_names import ServedVersion

_DEFAULT_RANK = 16


class Kserve:
    """Writes an `LLMInferenceService`."""

    name: ClassVar[str] = "kserve"
    takes: ClassVar[frozenset[str]] = frozenset({"base_model", "base_uri"})

    def write(
        self, served: ServedVersion, options: ExportOptions, *, beside: ServedVersion | None
    ) -> Sequence[Manifest]:
        """Write a manifest that names the version for good, and its bytes by their digest."""
        lora: dict[str, object] = {"adapters": [{"name": served.name, "uri": f"hf://{served.line}:{served.commit}"}]}
        if served.rank > _DEFAULT_RANK:
            lora["maxRank"] = served.rank
        model: dict[str, object] = {
            "uri": require_value(options.base_uri, "--base-uri", "where KServe gets the base"),
            "lora": lora,
        }
        if options.base_model:
            model["name"] = options.base_model
        router: dict[str, object] = {part: {} for part in ("gateway", "route", "scheduler")}
        spec = {"model": model, "router": router}
        return [resource("serving.kserve.io/v1alpha2", "LLMInferenceService", served, spec)]
