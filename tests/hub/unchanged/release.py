"""What a release of the hub's client gets, and what it says of what it does not get, as JSON."""

import hashlib
import json
import os
import re
import sys
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download

CASES = {
    "no file": ("team/lora", "v1", "tokenizer.json"),
    "no revision": ("team/lora", "canary", "adapter_config.json"),
    "no version": ("team/lora", "v9", "adapter_config.json"),
    "deleted": ("team/gone", "v1", "adapter_config.json"),
    "no main": ("team/full", None, "config.json"),
    "no delta": ("team/none", None, "adapter_config.json"),
    "no base": ("meta-llama/llama-3", None, "config.json"),
    "private": ("den/secret", "v1", "adapter_config.json"),
}


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and ".cache" not in path.relative_to(folder).parts
    }


def told(error):
    """Give an error's class and text, without what is another one each time."""
    text = re.sub(r"\(Request ID: [^)]*\)", "(Request ID)", str(error))
    text = re.sub(r"http://127\.0\.0\.1:\d+", "http://here", text)
    return [type(error).__name__, " ".join(text.split())]


def failing(function, *args, **given):
    try:
        function(*args, **given)
    except Exception as caught:  # noqa: BLE001  # whatever it is, it is told
        error: BaseException = caught
        while type(error).__name__ == "LocalEntryNotFoundError" and error.__cause__ is not None:
            error = error.__cause__
        return told(error)
    return ["none", ""]


def main():
    snapshots = {
        f"{name} {revision}": digests(snapshot_download(name, revision=revision))
        for name, revision in json.loads(sys.argv[1])
    }
    local = Path("local")
    snapshot_download("team/lora", revision="v1", local_dir=local)
    api = HfApi()
    refs = api.list_repo_refs("team/lora")
    errors = {
        case: failing(hf_hub_download, name, file, revision=revision) for case, (name, revision, file) in CASES.items()
    }
    errors["info of what is deleted"] = failing(api.model_info, "team/gone", revision="v1")
    errors["a token of the hub"] = failing(HfApi(token="hf_mine").model_info, "team/lora")
    errors["nobody's token"] = failing(HfApi(token="drg_x").model_info, "team/lora")
    print(
        json.dumps(
            {
                "snapshots": snapshots,
                "local": digests(local),
                "branches": sorted(ref.name for ref in refs.branches),
                "tags": sorted(ref.name for ref in refs.tags),
                "who": api.whoami()["name"],
                "files": sorted(api.list_repo_files("team/lora", revision="prod")),
                "errors": errors,
                "endpoint": os.environ["HF_ENDPOINT"] == api.endpoint,
            }
        )
    )


main()
