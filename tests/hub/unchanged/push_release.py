"""Push a folder as any release of the client does: file by file, whole, again, and wrongly."""

import json
import re
import shutil
import sys
from pathlib import Path

from huggingface_hub import HfApi

folder, name, reader, own_reader = Path(sys.argv[1]), *sys.argv[2:5]
PADDING = 40 << 20
api = HfApi()


def told(error):
    """Give an error's class and text, without what is another one each time."""
    text = re.sub(r"\(Request ID: [^)]*\)", "(Request ID)", str(error))
    text = re.sub(r"http://127\.0\.0\.1:\d+", "http://here", text).replace(name, "team/r")
    # By Xet a pull request is asked for before anything is sent, otherwise with the commit.
    text = text.replace("commit/main?create_pr=1", "discussions")
    return [type(error).__name__, " ".join(text.split())]


def failing(function, *args, **given):
    try:
        function(*args, **given)
    except Exception as error:  # noqa: BLE001  # whatever it is called in a release
        return told(error)
    return ["none", ""]


def upload(files, **given):
    """Push the folder with some files changed."""
    changed = folder.with_name("changed")
    shutil.rmtree(changed, ignore_errors=True)
    shutil.copytree(folder, changed)
    for path, raw in files.items():
        (changed / path).write_bytes(raw)
    given = {"folder_path": str(changed), "repo_id": name} | given
    return failing(given.pop("by", api).upload_folder, **given)


def padding():
    """Give a safetensors file that comes apart, by Xet or by Git LFS."""
    entry = {"dtype": "U8", "shape": [PADDING], "data_offsets": [0, PADDING]}
    head = json.dumps({"padding": entry}).encode()
    return len(head).to_bytes(8, "little") + head + bytes(range(256)) * (PADDING >> 8)


url = str(api.create_repo(name, exist_ok=True))
api.create_repo(name, exist_ok=True)
readme = api.upload_file(path_or_fileobj=b"# R\n", path_in_repo="README.md", repo_id=name)
whole = api.upload_folder(folder_path=str(folder), repo_id=name, commit_message="all of it")
again = api.upload_folder(folder_path=str(folder), repo_id=name)
by_reader, by_stranger = HfApi(token=reader), HfApi(token="hf_mine")
errors = {
    "a channel": upload({}, revision="prod"),
    "a dataset": failing(api.create_repo, f"{name}-d", repo_type="dataset"),
    "a pickle": upload({"adapter_model.bin": b"\x80\x05"}),
    "a pull request": upload({"a.json": b"{}"}, create_pr=True),
    "a token of the hub": failing(by_stranger.create_repo, name),
    "an archive": upload({"all.zip": b"PK"}),
    "another base": upload({"README.md": b"---\ndeltareg: {base: nobodys}\n---\n"}),
    "broken weights": upload({"adapter_model.safetensors": bytes(64)}),
    "code": upload({"model.py": b"import os"}),
    "no right": upload({"README.md": b"# other\n"}, by=by_reader),
    "too much of it, sent apart": upload({"extra.safetensors": padding()}),
}
files = sorted(api.list_repo_files(name))
oids = [whole.oid, again.oid]
# No worker has checked anything: `main` is what was pushed for who pushed it, and nothing for others.
mains = [HfApi(token=token).model_info(name).sha for token in (None, own_reader)]
loaded = Path(HfApi(token=own_reader).snapshot_download(name)).name
unchecked = failing(by_reader.model_info, name)
print(
    json.dumps(
        {
            "url": url,
            "mains": [*mains, loaded],
            "unchecked": unchecked,
            "oids": oids,
            "draft": readme.oid,
            "files": files,
            "errors": errors,
        }
    )
)
