"""The statement of OpenSSF model-signing: the files of a folder, each with its sha256.

Its subject is the sha256 over the digests of all files, in their order. Its names are never opened
as files: they are only compared with those of a folder or a manifest.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Final, Never

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import BadSignature, Refused
from deltareg.signing.statement import TYPE
from deltareg.tensors.header import strict_json_object

PREDICATE: Final = "https://model_signing/signature/v1.0"
_MOST_FILES = 10_000
_MOST_TOLD = 3
_HEX = re.compile(r"[0-9a-f]{64}")
_SEGMENT = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f\x7f]{1,255}")
_PREDICATE_FIELDS = {"serialization", "resources"}
_FIX = "sign the folder as a pull writes it: deltareg push PATH NS/NAME --sign KEY"


def read_signed_files(payload: bytes) -> dict[str, str]:
    """Return the sha256 of each file of a statement, by path.

    Raises:
        BadSignature: It is not such a statement, or contradicts itself.
    """
    try:
        fields = strict_json_object(payload.strip())
    except Refused as error:
        raise BadSignature(f"no statement about files: {error.message}", fix=_FIX) from error
    if set(fields) != {"_type", "subject", "predicateType", "predicate"} or fields["_type"] != TYPE:
        _refuse("it is no in-toto statement of version 1")
    predicate = fields["predicate"]
    if fields["predicateType"] != PREDICATE or not is_object(predicate):
        _refuse(f"it is not of type {PREDICATE}")
    if set(predicate) != _PREDICATE_FIELDS:
        _refuse("it says something else than which files there are")
    _check_method(predicate["serialization"])
    files = _files(predicate["resources"])
    if _subject(fields["subject"]) != root_of(files):
        _refuse("its subject is another than its files")
    return files


def root_of(files: Mapping[str, str]) -> str:
    """Return the sha256 over the digests of files, in their given order."""
    return sha256(b"".join(bytes.fromhex(digest) for digest in files.values())).hexdigest()


def folder_root(files: Mapping[str, str]) -> str:
    """Return model-signing's subject digest of a folder with these files."""
    return root_of({path: files[path] for path in sorted(files, key=PurePosixPath)})


def check_files(signed: Mapping[str, str], own: Mapping[str, str], *, what: str) -> None:
    """Refuse a statement whose files are not exactly the given ones.

    Raises:
        BadSignature: A file is missing, unexpected, or different.
    """
    more = sorted(own.keys() - signed.keys())
    fewer = sorted(signed.keys() - own.keys())
    other = sorted(path for path in own.keys() & signed.keys() if own[path] != signed[path])
    for paths, problem in (
        (other, f"is signed as another than {what} has it"),
        (more, f"is in {what} and not signed"),
        (fewer, f"is signed and not in {what}"),
    ):
        if paths:
            listing = ", ".join(ascii(path)[1:-1] for path in paths[:_MOST_TOLD])
            rest = f" and {len(paths) - _MOST_TOLD} more" if len(paths) > _MOST_TOLD else ""
            raise BadSignature(f"{listing}{rest} {problem}", fix=_FIX)


def _check_method(value: object) -> None:
    if not is_object(value) or value.get("method") != "files" or value.get("hash_type") != "sha256":
        _refuse("files are named each by its sha256 here, not by parts or by another hash")
    if value.get("allow_symlinks") not in (False, None):
        _refuse("it follows links, and a delta has none")


def _files(value: object) -> dict[str, str]:
    if not is_list(value) or not 0 < len(value) <= _MOST_FILES:
        _refuse(f"it has not between one and {_MOST_FILES} files")
    files: dict[str, str] = {}
    for item in value:
        if not is_object(item) or set(item) != {"name", "algorithm", "digest"}:
            _refuse("a file of it has other fields than one has")
        name, digest = item["name"], item["digest"]
        if not isinstance(name, str) or not all(map(_SEGMENT.fullmatch, name.split("/"))):
            _refuse("a file of it has a name that leads elsewhere")
        is_sha256 = item["algorithm"] == "sha256" and isinstance(digest, str)
        if not is_sha256 or not _HEX.fullmatch(str(digest)):
            _refuse("a file of it has no sha256")
        if name in files:
            _refuse("it names a file twice")
        files[name] = str(digest)
    return files


def _subject(value: object) -> str:
    one = value[0] if is_list(value) and len(value) == 1 else None
    digests = one.get("digest") if is_object(one) and set(one) == {"name", "digest"} else None
    digest = digests.get("sha256") if is_object(digests) and len(digests) == 1 else None
    if not isinstance(digest, str):
        _refuse("its subject has no sha256")
    return digest


def _refuse(message: str) -> Never:
    raise BadSignature(f"no statement about files: {message}", fix=_FIX)
