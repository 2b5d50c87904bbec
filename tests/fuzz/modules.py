"""Which modules read formats, as far as their words show, and why some of them have no target."""

READS = (
    r"json\.loads\(|parse_json\(|parse_object\(|strict_json_object\(|read_yaml\(|yaml\.load\(|tomllib\.loads\(|parse_toml\(|unpack(_from)?\(|from_bytes\("
    r"|ecompress(or)?\(|b64decode\(|_json\(response|validate_json\(|fromisoformat\(|zipfile\.|tarfile\.open|GGUFReader|load_pem_\w+\("
)
"""What a module calls that takes apart what somebody else wrote."""

_REASONS: dict[str, str] = {
    "it reads what this process or its child has just written": (
        "api.hub.building cli:runs.launch client.compare.behavior client.worker_client gpu_verify:child.main "
        "gpu_verify:engine.torch_engine.libraries.files gpu_verify:messages.requests host.worker_process "
        "service.bases.probes service.runs.asking service.runs.comparing service.runs.kinds.answer "
        "service.runs.kinds.compare"
    ),
    "it reads rows of the database, which the server wrote": (
        "db.sql.together pages.access pages.channel pages.suites service.hub.drafts "
        "service.ledger.references_document service.lines.evaluations service.lines.outside service.readback "
        "service.runs.demand service.runs.leases service.runs.queue service.upkeep.documents"
    ),
    "a strict reader of JSON, YAML or pydantic does all of the reading, and its fields are looked at by name": (
        "cli:commands.people.trust client.applying.comparing client.applying.declared client.bases.bases "
        "client.cache.pins client.convert.pickles client.fold.fold_folder client.folders.base_folder "
        "client.folders.known_folders client.follow.exec_server client.follow.llamacpp_engine "
        "client.follow.served_base client.follow.sglang_server client.http.exchange client.http.pod_token "
        "client.mirror.known_mirrors client.packs.stored_delta client.pull.installed client.pull.intact "
        "client.resources.events client.resources.evidence client.trust.last_checkpoint delta.base_manifest "
        "delta.kinds.diffusers_peft delta.quantised.values delta.stack golden.kept_progress golden.kept_start "
        "identity.whole_base integrations.hub_lines.room integrations.vllm.channel_names service.hub.committing "
        "service.issuers suites.drafting.suite_yaml"
    ),
    "it reads files of its own package": (
        "delta.architectures delta.layouts.peft.wavelets delta.names.rules delta.sites.sites"
    ),
    "it reads a base's files, for which a worker's sandbox is there": (
        "gpu_verify:child.prompts gpu_verify:engine.torch_engine.chatting "
        "gpu_verify:engine.torch_engine.libraries.transformers_library "
        "gpu_verify:engine.torch_engine.networks.sentence_pooling "
        "gpu_verify:engine.torch_engine.networks.transformers_class gpu_verify:engine.torch_engine.preparing "
        "gpu_verify:judging.checks.image_distance gpu_verify:judging.checks.library_agrees "
        "gpu_verify:supervisor.base_measures"
    ),
    "it makes numbers of a digest, or writes": (
        "api.doctor.bundle db.storage.offers delta.merge.steps integrations.oci.packing service.runs.second_look "
        "service.telling.signature service.upkeep.pieces suites.training_start"
    ),
    "it calls a reader that has a target, or a function of the same name": (
        "client.bases.unpacked client.convert.gguf_library client.pull.attaching codec.kernel codec.native_kernel "
        "codec.numpy_kernel gpu_verify:supervisor.materials service.backup.restore service.hub.xet_store "
        "service.verdicts.suites"
    ),
    "it shows a time that the server wrote": (
        "cli:terminal.wording cli:views.channels cli:views.policy_warnings cli:views.runs integrations.fsspec"
    ),
}
NO_FORMATS = {module: why for why, modules in _REASONS.items() for module in modules.split()}
"""Modules that call such things, and why there is no target for them."""


def elsewhere() -> set[str]:
    """Return the modules that have fuzzers of their own: `tests/codec/test_fuzz.py` and `test_sanitizers.py` there."""
    words = ("blocks", "byte_planes", "canonical", "classed", "floats", "frames", "lengths", "packs", "pco", "zstd")
    return {f"codec.{word}" for word in words}
