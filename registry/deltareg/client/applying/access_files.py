"""Files that say who is who and may do what: `access.yaml`, and `namespaces/NS.yaml` of each namespace."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from deltareg.client.quantities import parse_size
from deltareg.documents.json_values import is_list, is_object
from deltareg.documents.limits import NO_LIMIT, write_limits
from deltareg.documents.yaml_document import find_line, read_yaml, write_yaml
from deltareg.errors import InvalidInput
from deltareg.refs import parse_name
from deltareg.wire import AccessDocument, DeclaredNamespace, DeclaredQuota

WHOLE, PARTS = "access.yaml", "namespaces"
Model = TypeVar("Model", AccessDocument, DeclaredNamespace)
_WEBHOOK_KEYS = {"url", "types", "lines", "form"}


@dataclass(frozen=True, slots=True)
class DeclaredWebhook:
    """A webhook of a namespace, by its name, which is its note on the server.

    Attributes:
        namespace: The namespace.
        name: Its name.
        url: Where it goes, or `$NAME` for what that variable of the environment holds.
        fields: The rest: types, lines, form.
    """

    namespace: str
    name: str
    url: str
    fields: Mapping[str, object]

    def read_url(self) -> str:
        """Return where it goes.

        Raises:
            InvalidInput: The variable that it names is not set.
        """
        if not self.url.startswith("$"):
            return self.url
        url = os.environ.get(self.url[1:])
        if not url:
            message = f"the webhook {self.name} of {self.namespace} goes to {self.url}, which is not set"
            raise InvalidInput(message, fix=f"export {self.url[1:]}=https://…")
        return url


@dataclass(frozen=True, slots=True)
class AccessFiles:
    """What the access files of a folder declare.

    Attributes:
        document: Groups, roles, members and namespaces; None where the folder has no such file.
        webhooks: The webhooks of each namespace whose file lists some, or none.
    """

    document: AccessDocument | None = None
    webhooks: Mapping[str, Sequence[DeclaredWebhook]] | None = None


def read_access_files(root: Path) -> AccessFiles:
    """Read the access files of a folder.

    Raises:
        InvalidInput: One is malformed; the message names it, and the line.
    """
    paths = sorted((root / PARTS).glob("*.yaml")) if (root / PARTS).is_dir() else []
    whole = root / WHOLE
    if not whole.is_file() and not paths:
        return AccessFiles()
    document = AccessDocument()
    if whole.is_file():
        raw = whole.read_bytes()
        fields = _spell_out(_read(whole, raw))
        _read_quota(whole, raw, fields)
        if "namespaces" in fields:
            raise InvalidInput(f"{whole}: namespaces have files of their own", fix=f"move each to {PARTS}/NS.yaml")
        document = _check(whole, raw, AccessDocument, fields)
    webhooks: dict[str, Sequence[DeclaredWebhook]] = {}
    for path in paths:
        name, raw = _name_of(path), path.read_bytes()
        fields = _read(path, raw)
        if "webhooks" in fields:
            webhooks[name] = list(_webhooks(path, raw, name, fields.pop("webhooks")))
        if "quota" in fields:
            fields["quota"] = _limits(path, raw, ["quota"], fields["quota"])
        document.namespaces[name] = _check(path, raw, DeclaredNamespace, _spell_out(fields))
    return AccessFiles(document, webhooks)


def write_access_files(
    root: Path, document: AccessDocument, webhooks: Mapping[str, Mapping[str, object]]
) -> list[Path]:
    """Write the files that declare a document; return their paths.

    Args:
        root: The folder.
        document: What they declare.
        webhooks: The webhooks of namespaces, by their names.
    """
    whole = document.model_dump(exclude={"namespaces"}, exclude_none=True)
    whole["groups"] = {
        name: {"source": group.source} if group.source else group.members
        for name, group in (document.groups or {}).items()
    }
    if document.quota is not None:
        whole["quota"] = _write_quota(document.quota)
    files = {root / WHOLE: {key: value for key, value in whole.items() if value}}
    for name, namespace in document.namespaces.items():
        fields = {key: value for key, value in namespace.model_dump(exclude_none=True).items() if value}
        if namespace.quota:
            fields["quota"] = write_limits(namespace.quota)
        files[root / PARTS / f"{name}.yaml"] = fields | ({"webhooks": webhooks[name]} if webhooks.get(name) else {})
    for path, fields in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(write_yaml(_write_short(fields), is_ascii=True), encoding="utf-8")
    return [*files]


def _read(path: Path, raw: bytes) -> dict[str, object]:
    if not raw.strip():
        return {}
    try:
        return read_yaml(raw, what="file")
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error.message}", fix=error.fix) from error


def _check(path: Path, raw: bytes, model: type[Model], fields: Mapping[str, object]) -> Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = [step for step in first["loc"] if step != "[key]"]
        raise _refuse(path, raw, place, first["msg"]) from error


def _refuse(path: Path, raw: bytes, place: Sequence[str | int], why: str) -> InvalidInput:
    where = ".".join(map(str, place))
    return InvalidInput(f"{path}, line {find_line(raw, place)}: {where}: {why}", fix="mend that line and try again")


def _spell_out(fields: dict[str, object]) -> dict[str, object]:
    """Write out what may be written short: a role of one word, a group that is a list of its members."""
    spelled = dict(fields)
    for key in ("members", "everywhere", "roles"):
        given = fields.get(key)
        if is_object(given):
            spelled[key] = {name: [value] if isinstance(value, str) else value for name, value in given.items()}
    groups = fields.get("groups")
    if is_object(groups):
        spelled["groups"] = {name: {"members": value} if is_list(value) else value for name, value in groups.items()}
    return spelled


def _read_quota(path: Path, raw: bytes, fields: dict[str, object]) -> None:
    """Read the limits of `access.yaml`: of each namespace, of each person, of some principals."""
    quota = fields.get("quota")
    if not is_object(quota):
        return
    read = dict(quota)
    for key in ("namespaces", "people"):
        if key in quota:
            read[key] = _limits(path, raw, ["quota", key], quota[key])
    principals = quota.get("principals")
    if is_object(principals):
        place = ["quota", "principals"]
        read["principals"] = {name: _limits(path, raw, [*place, name], most) for name, most in principals.items()}
    fields["quota"] = read


def _limits(path: Path, raw: bytes, place: Sequence[str], given: object) -> dict[str, int | None]:
    if not is_object(given):
        raise _refuse(path, raw, place, "limits have resources: `{bytes: 200GB, versions: 5000}`")
    return {resource: _most(path, raw, [*place, resource], most) for resource, most in given.items()}


def _most(path: Path, raw: bytes, place: Sequence[str], most: object) -> int | None:
    if most == NO_LIMIT:
        return None
    if isinstance(most, int) and not isinstance(most, bool):
        return most
    if isinstance(most, str) and place[-1] == "bytes":
        try:
            return parse_size(most)
        except InvalidInput as error:
            raise _refuse(
                path, raw, place, f"{error.message}: write 200GB, a number of bytes, or {NO_LIMIT}"
            ) from error
    raise _refuse(path, raw, place, f"a limit is a number, or {NO_LIMIT}")


def _write_quota(quota: DeclaredQuota) -> dict[str, object]:
    written: dict[str, object] = {
        "namespaces": write_limits(quota.namespaces or {}),
        "people": write_limits(quota.people or {}),
        "principals": {name: write_limits(most) for name, most in (quota.principals or {}).items()},
    }
    return {key: value for key, value in written.items() if value}


def _write_short(fields: Mapping[str, object]) -> dict[str, object]:
    """Write a role of one word as a word."""
    short = dict(fields)
    for key in ("members", "everywhere"):
        given = fields.get(key)
        if is_object(given):
            short[key] = {
                name: value[0] if is_list(value) and len(value) == 1 else value for name, value in given.items()
            }
    return short


def _webhooks(path: Path, raw: bytes, namespace: str, declared: object) -> Iterator[DeclaredWebhook]:
    if not is_object(declared):
        raise _refuse(path, raw, ["webhooks"], "webhooks have names: `deploys: {url: https://…}`")
    for name, fields in declared.items():
        place = ["webhooks", name]
        if not is_object(fields) or not isinstance(fields.get("url"), str):
            raise _refuse(path, raw, place, "a webhook has a url, or `url: $NAME` for a variable of the environment")
        if unknown := sorted(fields.keys() - _WEBHOOK_KEYS):
            raise _refuse(path, raw, [*place, unknown[0]], f"a webhook has {', '.join(sorted(_WEBHOOK_KEYS))}")
        types = fields.get("types", ["*"])
        rest = {
            "types": types if is_list(types) else [types],
            "lines": fields.get("lines", ""),
            "form": fields.get("form", "cloudevents"),
        }
        yield DeclaredWebhook(namespace, name, str(fields["url"]), rest)


def _name_of(path: Path) -> str:
    try:
        return parse_name(path.stem, "namespace")
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error.message}", fix=error.fix) from error
