"""Ask each of some ninety things that `HfApi` can ask, and say what came: as JSON, call by call."""

# Six releases run this; each has other types, and lacks something that another has.
# mypy: disable-error-code="attr-defined,arg-type,union-attr,index,no-redef,misc"

import json
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, ModelCard
from huggingface_hub.utils import RepositoryNotFoundError

folder, own, reader = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
api, by_reader = HfApi(), HfApi(token=reader)
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
CARD = b"---\nlibrary_name: peft\ntags: [support]\n---\n# C\n"


def names(models):
    return sorted(model.id for model in models if not model.id.startswith("by-") or model.id == own)


def add(path, raw):
    return CommitOperationAdd(path_in_repo=path, path_or_fileobj=raw)


def commit(*operations, **given):
    return api.create_commit(own, operations=list(operations), commit_message="a commit", **given)


def copy(revision=None):
    commit(CommitOperationCopy(src_path_in_repo="README.md", path_in_repo="NOTES.md", src_revision=revision))
    return "NOTES.md" in api.list_repo_files(own)


def copy_from_another():
    source = {"src_repo_id": "team/lora", "src_repo_type": "model"}
    commit(CommitOperationCopy(src_path_in_repo=CONFIG, path_in_repo="other.json", **source))


def move_by_copy():
    copied = CommitOperationCopy(src_path_in_repo="NOTES.md", path_in_repo="MOVED.md")
    commit(copied, CommitOperationDelete(path_in_repo="NOTES.md"))
    return [path for path in api.list_repo_files(own) if path in {"NOTES.md", "MOVED.md"}]


def upload_large_folder():
    changed = folder.with_name("large")
    shutil.copytree(folder, changed)
    (changed / "README.md").write_bytes(CARD)
    api.upload_large_folder(repo_id=own, folder_path=str(changed), repo_type="model", print_report=False)
    return True


def preupload():
    addition = add("MORE.md", b"# more\n")
    api.preupload_lfs_files(own, additions=[addition])
    return addition.path_in_repo


def tags():
    return sorted(ref.name for ref in api.list_repo_refs(own).tags)


def command(*words):
    program = Path(sys.executable).with_name("hf")
    ended = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise LookupError(f"{ended.stdout} {ended.stderr}")
    return ended.stdout


def files_by_path():
    system = huggingface_hub.HfFileSystem()
    return [system.ls("team/lora@v1", detail=False), len(system.cat(f"team/lora@v1/{CONFIG}"))]


def is_missing():
    try:
        api.model_info("team/none")
    except RepositoryNotFoundError:
        return True
    return False


CALLS = {
    "whoami": lambda: api.whoami()["name"],
    "auth_check": lambda: api.auth_check("team/lora"),
    "list_models": lambda: names(api.list_models()),
    "list_models(search)": lambda: names(api.list_models(search="LOR")),
    "list_models(author)": lambda: names(api.list_models(author="team", search="full")),
    "list_models(filter)": lambda: names(api.list_models(filter="full")),
    "list_models(sort, limit)": lambda: len(list(api.list_models(sort="last_modified", limit=1))),
    "list_models(sort=downloads)": lambda: names(api.list_models(sort="downloads", search="lora")),
    "list_models(full)": lambda: sorted(
        sibling.rfilename for model in api.list_models(full=True, search="team/lora") for sibling in model.siblings
    ),
    "list_models(pipeline_tag)": lambda: names(api.list_models(pipeline_tag="text-generation")),
    "list_models(gated)": lambda: names(api.list_models(gated=True)),
    "list_models(inference_provider)": lambda: names(api.list_models(inference_provider="all")),
    "model_info": lambda: api.model_info("team/lora").id,
    "model_info(files_metadata)": lambda: len(api.model_info("team/lora", files_metadata=True).siblings),
    "model_info of none": is_missing,
    "repo_info": lambda: api.repo_info("team/lora", revision="v1").sha[:0],
    "repo_exists": lambda: [api.repo_exists(each) for each in ("team/lora", "team/none", "nowhere/none")],
    "revision_exists": lambda: [api.revision_exists("team/lora", each) for each in ("v1", "prod", "v99")],
    "file_exists": lambda: [api.file_exists("team/lora", each) for each in (CONFIG, "none")],
    "list_repo_files": lambda: api.list_repo_files("team/lora"),
    "list_repo_tree": lambda: len(list(api.list_repo_tree("team/lora", recursive=True, expand=True))),
    "get_paths_info": lambda: [each.path for each in api.get_paths_info("team/lora", [CONFIG, "none"])],
    "list_repo_refs": lambda: [ref.name for ref in api.list_repo_refs("team/lora").tags],
    "list_repo_commits": lambda: len(api.list_repo_commits("team/lora")),
    "get_hf_file_metadata": lambda: (
        api.get_hf_file_metadata(url=huggingface_hub.hf_hub_url("team/lora", CONFIG, endpoint=api.endpoint)).size
    ),
    "hf_hub_download": lambda: Path(api.hf_hub_download("team/lora", CONFIG)).name,
    "snapshot_download": lambda: len(list(Path(api.snapshot_download("team/lora", revision="v1")).iterdir())),
    "get_safetensors_metadata": lambda: api.get_safetensors_metadata("team/full", revision="v1").sharded,
    "parse_safetensors_file_metadata": lambda: (
        len(api.parse_safetensors_file_metadata("team/lora", WEIGHTS).tensors) > 0
    ),
    "verify_repo_checksums": lambda: api.verify_repo_checksums("team/lora").mismatches,
    "get_full_repo_name": lambda: api.get_full_repo_name("lora"),
    "HfFileSystem": files_by_path,
    "hf models ls": lambda: "team/lora" in command("models", "ls", "--search", "lora", "--format", "json"),
    "hf models ls ID": lambda: CONFIG in command("models", "ls", "team/lora"),
    "create_repo": lambda: api.create_repo(own).repo_id,
    "create_repo(exist_ok)": lambda: api.create_repo(own, exist_ok=True).repo_id,
    "create_repo(private)": lambda: api.create_repo(f"{own.partition('/')[0]}-private/mine", private=True).repo_id,
    "create_repo(private) where others read": lambda: api.create_repo("team/other", private=True),
    "ModelCard.validate": lambda: ModelCard(CARD.decode()).validate(),
    "upload_file": lambda: api.upload_file(path_or_fileobj=CARD, path_in_repo="README.md", repo_id=own).oid[:0],
    "upload_folder": lambda: len(api.upload_folder(folder_path=str(folder), repo_id=own).oid),
    "ModelCard.load": lambda: ModelCard.load(own).data.library_name,
    "model_info(card_data)": lambda: api.model_info(own).card_data.tags,
    "list_models(filter=tag of a card)": lambda: own in names(api.list_models(filter="support")),
    "create_commit": lambda: len(commit(add("README.md", CARD + b"more\n")).oid),
    "create_commit(copy)": copy,
    "create_commit(copy, delete)": move_by_copy,
    "create_commit(copy of an older version)": lambda: copy("v1"),
    "create_commit(copy from another)": copy_from_another,
    "create_commit(create_pr)": lambda: commit(add("README.md", b"# pr\n"), create_pr=True),
    "create_commit by who reads": lambda: by_reader.upload_file(
        path_or_fileobj=b"# no\n", path_in_repo="README.md", repo_id=own
    ),
    "preupload_lfs_files": preupload,
    "delete_file": lambda: len(api.delete_file("NOTES.md", own).oid),
    "delete_folder": lambda: len(api.delete_folder("none", own).oid),
    "delete_files": lambda: len(api.delete_files(own, ["MOVED*"]).oid),
    "upload_large_folder": upload_large_folder,
    "create_tag": lambda: [api.create_tag(own, tag="best", revision="v1"), "best" in tags()],
    "create_tag(exist_ok)": lambda: api.create_tag(own, tag="best", revision="v1", exist_ok=True),
    "create_tag again": lambda: api.create_tag(own, tag="best", revision="v1"),
    "model_info(revision=tag)": lambda: (
        api.model_info(own, revision="best").sha == api.model_info(own, revision="v1").sha
    ),
    "delete_tag": lambda: [api.delete_tag(own, tag="best"), "best" in tags()],
    "delete_tag of a version": lambda: api.delete_tag(own, tag="v1"),
    "create_branch": lambda: api.create_branch(own, branch="b"),
    "delete_branch": lambda: api.delete_branch(own, branch="prod"),
    "update_repo_settings(private)": lambda: api.update_repo_settings(own, private=True),
    "update_repo_settings(gated)": lambda: api.update_repo_settings(own, gated="auto"),
    "move_repo": lambda: api.move_repo(own, f"{own}-moved"),
    "delete_repo": lambda: api.delete_repo(own),
    "duplicate_repo": lambda: api.duplicate_repo("team/lora", f"{own}-twin"),
    "super_squash_history": lambda: api.super_squash_history(own),
    "list_lfs_files": lambda: list(api.list_lfs_files(own)),
    "get_repo_discussions": lambda: list(api.get_repo_discussions("team/lora")),
    "get_discussion_details": lambda: api.get_discussion_details("team/lora", 1),
    "create_discussion": lambda: api.create_discussion("team/lora", "a title"),
    "create_pull_request": lambda: api.create_pull_request("team/lora", "a title"),
    "list_repo_likers": lambda: list(api.list_repo_likers("team/lora")),
    "unlike": lambda: api.unlike("team/lora"),
    "list_liked_repos": lambda: api.list_liked_repos("owner"),
    "list_user_repos": lambda: list(api.list_user_repos()),
    "get_user_overview": lambda: api.get_user_overview("owner"),
    "get_organization_overview": lambda: api.get_organization_overview("team"),
    "list_organization_members": lambda: list(api.list_organization_members("team")),
    "grant_access": lambda: api.grant_access(own, "somebody"),
    "list_pending_access_requests": lambda: list(api.list_pending_access_requests(own)),
    "list_datasets": lambda: list(api.list_datasets()),
    "dataset_info": lambda: api.dataset_info("team/data"),
    "create_repo of a dataset": lambda: api.create_repo(f"{own}-d", repo_type="dataset"),
    "list_spaces": lambda: list(api.list_spaces()),
    "space_info": lambda: api.space_info("team/space"),
    "get_space_runtime": lambda: api.get_space_runtime("team/space"),
    "get_model_tags": api.get_model_tags,
    "list_collections": lambda: list(api.list_collections()),
    "get_collection": lambda: api.get_collection("team/one"),
    "create_collection": lambda: api.create_collection("mine"),
    "list_webhooks": api.list_webhooks,
    "list_papers": lambda: list(api.list_papers(query="lora")),
    "run_job": lambda: api.run_job(image="python", command=["true"]),
    "list_buckets": lambda: list(api.list_buckets(namespace="team")),
}


def outcome(call):
    """Say what a call gave: its result, the words of the server, or what the client itself says."""
    try:
        return ["works", call()]
    except (AttributeError, TypeError) as error:
        return ["absent", str(error)]
    except Exception as caught:  # noqa: BLE001  # whatever it is, it is told
        error: BaseException = caught
        while getattr(error, "response", None) is None and error.__cause__ is not None:
            error = error.__cause__
        response = getattr(error, "response", None)
        if response is None:
            return ["client", f"{type(caught).__name__}: {caught}"[:300]]
        try:
            body = response.json()
        except ValueError:
            body = {}
        words = str(body.get("error") or "") if isinstance(body, dict) else ""
        is_shown = bool(words) and words.splitlines()[0] in str(caught)
        return ["words" if is_shown else "bare", response.status_code, words, str(caught)[:600]]


print(json.dumps({call: outcome(CALLS[call]) for call in CALLS}, default=list))
