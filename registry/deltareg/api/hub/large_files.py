"""What a client announces before it sends: files for `preupload`, objects for Git LFS."""

import re
from collections.abc import Mapping, Sequence

from deltareg.api.hub.preupload import AnnouncedFile
from deltareg.documents.json_values import is_count, is_list, is_object
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef
from deltareg.service.hub.committing import MOST_FILES
from deltareg.service.hub.files import CommitFile
from deltareg.service.push.staging import check_room, find_staged, give_ticket
from deltareg.service.registry import Caller, Registry

_SHA256 = re.compile(r"[0-9a-f]{64}")
Json = dict[str, object]


def line_of(repository: str) -> LineRef:
    """Read the id of a repository as that of a line: a trainer's default has capital letters."""
    return LineRef.parse(repository.lower())


def announced_files(body: Mapping[str, object]) -> Sequence[AnnouncedFile]:
    """Read what `preupload` is asked about.

    Raises:
        InvalidInput: It is no list of files.
    """
    files: list[AnnouncedFile] = []
    for item in _items(body, "files"):
        path, size = item.get("path"), item.get("size")
        if not isinstance(path, str) or not path or not is_count(size):
            raise InvalidInput("a file that is asked about has no path or no size")
        if not _is_text(path):
            raise InvalidInput("a file that is asked about has a path that is no text")
        files.append(AnnouncedFile(path, size, str(item.get("sample") or "")))
    return files


def objects_of(body: Mapping[str, object]) -> Mapping[str, int]:
    """Read which objects are to be sent: their lengths, by sha256.

    Raises:
        InvalidInput: It is no list of objects.
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
    """Answer a batch: an address for each object that is not there yet.

    Raises:
        QuotaExceeded: It is too much for this interface.
    """
    check_room(str(line), sum(objects.values()))
    staged = find_staged(registry, str(line), caller, objects)
    present = staged.keys() | {entry.sha256 for entry in there.values()}
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


def _is_text(path: str) -> bool:
    """Whether it can be written again: JSON may escape half of a pair, which is no letter."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _items(body: Mapping[str, object], name: str) -> Sequence[Mapping[str, object]]:
    items = body.get(name)
    if not is_list(items) or len(items) > MOST_FILES:
        raise InvalidInput(f"{name} is no list of at most {MOST_FILES}")
    objects = [item for item in items if is_object(item)]
    if len(objects) != len(items):
        raise InvalidInput(f"{name} holds something that is no JSON object")
    return objects
