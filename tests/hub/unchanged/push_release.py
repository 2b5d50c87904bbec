"""Push a folder as any release of the client does: file by file, whole, again, and wrongly."""

import json
import sys
from pathlib import Path

from huggingface_hub import HfApi

folder, name = Path(sys.argv[1]), sys.argv[2]
api = HfApi()
url = str(api.create_repo(name, exist_ok=True))
api.create_repo(name, exist_ok=True)
readme = api.upload_file(path_or_fileobj=b"# R\n", path_in_repo="README.md", repo_id=name)
whole = api.upload_folder(folder_path=str(folder), repo_id=name, commit_message="all of it")
again = api.upload_folder(folder_path=str(folder), repo_id=name)
try:
    api.upload_file(path_or_fileobj=b"import os\n", path_in_repo="model.py", repo_id=name)
    refused = ""
except Exception as error:  # noqa: BLE001  # whatever it is called in a release
    refused = f"{type(error).__name__}: {error}"
files = sorted(api.list_repo_files(name))
told = {"url": url, "oids": [whole.oid, again.oid], "draft": readme.oid, "files": files}
print(json.dumps(told | {"refused": refused}))
