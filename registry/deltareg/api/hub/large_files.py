"""Announcements before a client sends: files for `preupload`, objects for Git LFS."""

import re
from collections.abc import Mapping, Sequence

from deltareg.api.hub.preupload import AnnouncedFile
from deltareg.documents.json_values import is_count, is_list, is_object, is_text
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef
from deltareg.service.hub.committing import MOST_FILES
from deltareg.service.hub.files import CommitFile
from deltareg.service.push.staging import check_room, check_staging, find_staged, give_ticket
from deltareg.service.registry import Caller, Registry

_SHA256 = re.compile(r"[0-9a-f]{64}")
Json = dict[str, object]


def line_of(repository: str, caller: Caller) -> LineRef:
    """Return the line that a repository's id names, under the name that it has now.

    A trainer's default id has capital letters.
    """
    return caller.current_line(LineRef.parse(repository.lower()))


def announced_files(body: Mapping[str, object]) -> Sequence[AnnouncedFile]:
    """Return the files that `preupload` is asked about.

    Raises:
        InvalidInput: The body has no valid list of files.
    """
    files: list[AnnouncedFile] = []
    for item in _items(body, "files"):
        path, size = item.get("path"), item.get("size")
        if not isinstance(path, str) or not path or not is_count(size):
            raise InvalidInput("a file that is asked about has no path or no size")
        if not is_text(path):
            raise InvalidInput("a file that is asked about has a path that is no text")
        files.append(AnnouncedFile(path, size, str(item.get("sample") or "")))
    return files


def objects_of(body: Mapping[str, object]) -> Mapping[str, int]:
    """Return the objects to be sent: their lengths in bytes, by sha256.

    Raises:
        InvalidInput: The body has no valid list of objects.
    """
    sizes: dict[str, int] = {}
    for item in _items(body, "objects"):
        oid, size = item.get("oid"), item.get("size")
        if not isinstance(oid, str) or _SHA256.fullmatch(oid) is None or not is_count(size):
            raise InvalidInput("an object needs a sha256 as oid, and a size")
        sizes[oid] = size
    return sizes


def batch_answer(
    registry: Registry,
    caller: Caller,
    line: LineRef,
    objects: Mapping[str, int],
    there: Mapping[str, CommitFile],
    *,
    root: str,
) -> Json:
    """Answer a batch with an address for each object that is not stored yet.

    Raises:
        QuotaExceeded: The objects are too large for this interface, or for a quota.
    """
    check_room(str(line), sum(objects.values()))
    staged = find_staged(registry, str(line), caller, objects)
    present = staged.keys() | {entry.sha256 for entry in there.values()}
    coming = sum(size for oid, size in objects.items() if oid not in present)
    check_staging(registry, str(line), caller, coming)
    answers: list[Json] = []
    for oid, size in objects.items():
        answer: Json = {"oid": oid, "size": size}
        if oid not in present:
            ticket = give_ticket(registry, str(line), caller, sha256=oid, size_bytes=size)
            answer["actions"] = {
                "upload": {"href": f"{root}/lfs/{ticket}", "header": {}},
                "verify": {"href": f"{root}/{line}.git/info/lfs/verify", "header": {}},
            }
        answers.append(answer)
    return {"transfer": "basic", "objects": answers}


def _items(body: Mapping[str, object], name: str) -> Sequence[Mapping[str, object]]:
    items = body.get(name)
    if not is_list(items) or len(items) > MOST_FILES:
        raise InvalidInput(f"{name} is no list of at most {MOST_FILES}")
    objects = [item for item in items if is_object(item)]
    if len(objects) != len(items):
        raise InvalidInput(f"{name} holds something that is no JSON object")
    return objects
