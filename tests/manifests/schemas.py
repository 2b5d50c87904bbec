"""What the systems take, as their CRDs say it; unknown fields, which a cluster drops, are refused.

`DynamoModel` after deploy/operator of ai-dynamo/dynamo 50820f5, `InferenceModelRewrite` after
config/crd of llm-d/llm-d-router 9fab645, `LLMInferenceService` after kserve/kserve 01b1241.
"""

TEXT = {"type": "string", "minLength": 1}
SUBDOMAIN = {
    "type": "string",
    "maxLength": 63,
    "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",  # RFC 1123
}
ANNOTATION = (
    "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
)


def exactly(needed, more=None):
    """Give the schema of an object with these fields and no others."""
    return {
        "type": "object",
        "properties": {**needed, **(more or {})},
        "required": sorted(needed),
        "additionalProperties": False,
    }


def resource(version, kind, spec):
    metadata = exactly(
        {"name": SUBDOMAIN},
        {
            "annotations": {
                "type": "object",
                "propertyNames": {"pattern": ANNOTATION},
                "additionalProperties": {"type": "string"},
            }
        },
    )
    return exactly({"apiVersion": {"const": version}, "kind": {"const": kind}, "metadata": metadata, "spec": spec})


_TARGET = exactly({"modelRewrite": TEXT}, {"weight": {"type": "integer", "minimum": 1, "maximum": 1_000_000}})
_MATCH = exactly({"model": exactly({"value": TEXT}, {"type": {"enum": ["Exact"]}})})
_RULE = exactly(
    {}, {"matches": {"type": "array", "items": _MATCH}, "targets": {"type": "array", "items": _TARGET, "minItems": 1}}
)
_POOL = exactly(
    {"name": {"type": "string", "minLength": 1, "maxLength": 253}},
    {
        "group": {"type": "string", "maxLength": 253},
        "kind": {"type": "string", "pattern": "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"},
    },
)
_MODEL = exactly({"uri": {"type": "string", "pattern": "^(hf|s3|pvc)://"}}, {"name": TEXT})
_LORA = exactly(
    {},
    {
        "adapters": {"type": "array", "items": {**_MODEL, "required": ["name", "uri"]}},
        "maxRank": {"type": "integer", "minimum": 1},
        "maxAdapters": {"type": "integer", "minimum": 1},
        "maxCpuAdapters": {"type": "integer", "minimum": 1},
    },
)
_ROUTER = exactly({}, {name: {"type": "object"} for name in ("gateway", "route", "scheduler")})

SCHEMAS = {
    "dynamo": resource(
        "nvidia.com/v1alpha1",
        "DynamoModel",
        exactly(
            {"baseModelName": TEXT, "modelName": TEXT},
            {
                "modelType": {"enum": ["base", "lora", "adapter"]},
                "source": exactly({"uri": {"type": "string", "pattern": "^(hf|s3)://"}}),
            },
        ),
    ),
    "llm-d": resource(
        "llm-d.ai/v1alpha2",
        "InferenceModelRewrite",
        exactly({"poolRef": _POOL, "rules": {"type": "array", "items": _RULE}}),
    ),
    "kserve": resource(
        "serving.kserve.io/v1alpha2",
        "LLMInferenceService",
        exactly({"model": {**_MODEL, "properties": {**_MODEL["properties"], "lora": _LORA}}}, {"router": _ROUTER}),
    ),
}
