"""Documents that people write or programs keep: cards, policies, suites, tasks, golden outputs, configurations."""

import json
import os
from pathlib import Path

from deltareg.client.applying.access_files import PARTS, WHOLE, read_access_files
from deltareg.client.compare.bisect_marks import KeptMarks, LineMarks
from deltareg.client.config_file import read_settings
from deltareg.client.drafting.data_files import read_records
from deltareg.client.drafting.general_texts import read_texts
from deltareg.client.follow.aliases import AliasFile
from deltareg.client.follow.release import FollowedChannel
from deltareg.client.pull.lock_file import lock_text, read_lock
from deltareg.client.resources.suites import read_suite_file
from deltareg.client.trust.trusted_keys import TrustedKeys
from deltareg.documents.evaluation import read_evaluation
from deltareg.documents.model_card import read_card
from deltareg.documents.strict_json import parse_object
from deltareg.documents.yaml_document import find_line, key_lines, read_yaml, write_yaml
from deltareg.gate.policy import parse_policy, policy_fields, read_stored, stored_fields
from deltareg.gate.policy_file import read_floor_file, read_policy_file
from deltareg.integrations.oci.logins import find_login
from deltareg.integrations.run_notes import read_notes
from deltareg.oidc.provider_file import read_providers
from deltareg.refs import LineRef
from deltareg.service.lines.cards import pack_card, unpack_card
from deltareg.suites import golden_file
from deltareg.suites.base_probes import BaseProbes
from deltareg.suites.catalogue import read_catalogue
from deltareg.suites.lm_task import fill_task, read_task
from deltareg.suites.needs import words_of_suite
from deltareg.suites.probe_set import read_samples
from deltareg.suites.suite import ProbeSet, parse_suite, read_stored_suite, read_suite
from tests.fuzz.target import SCRATCH, Target, of_file

_FOLLOWED = FollowedChannel(LineRef("team", "chat"), "prod")


def _yaml(data: bytes) -> object:
    fields = read_yaml(data, what="document")
    find_line(data, [next(iter(fields), "")])
    find_line(data, ["a", 0])
    key_lines(data)
    assert read_yaml(write_yaml(fields).encode(), what="document") == fields
    return None


def _policy(data: bytes) -> object:
    fields = read_policy_file(data)
    policy = parse_policy(fields)
    assert parse_policy(policy_fields(policy)) == policy
    assert read_stored(stored_fields(policy)) == policy
    return None


def _suite(data: bytes) -> object:
    suite = read_suite(data)
    assert parse_suite(suite.document).digest == suite.digest
    read_stored_suite(suite.document)
    words_of_suite(suite.document)
    return None


def _card(data: bytes) -> object:
    card = read_card(data)
    assert unpack_card(pack_card(card)) == card
    return None


def _golden(data: bytes) -> object:
    written = golden_file.encode(golden_file.decode(data))
    assert golden_file.encode(golden_file.decode(written)) == written
    return None


def _task(data: bytes) -> object:
    document, _, rows = data.partition(b"\n---rows---\n")
    return fill_task(read_task(document, "task"), lambda _: rows)


def _samples(name: str):
    return lambda data: read_samples(ProbeSet("p", name), data)


def _access(data: bytes) -> object:
    with SCRATCH.folder() as folder:
        (folder / PARTS).mkdir()
        whole, _, part = data.partition(b"\n%%%\n")
        (folder / WHOLE).write_bytes(whole)
        (folder / PARTS / "team.yaml").write_bytes(part)
        return read_access_files(folder)


def _marks(data: bytes) -> object:
    with SCRATCH.folder() as folder:
        marks, line = KeptMarks(folder), LineRef("team", "chat")
        path = folder / "team" / "chat.json"
        path.parent.mkdir()
        path.write_bytes(data)
        found = marks.read(line)
        assert found is not None
        assert LineMarks.model_validate_json(found.model_dump_json()) == found
        return None


def _login(data: bytes) -> object:
    with SCRATCH.file(data, "config.json") as path:
        before = os.environ.get("DOCKER_CONFIG")
        os.environ["DOCKER_CONFIG"] = str(path.parent)
        try:
            return find_login("registry.example")
        finally:
            os.environ.pop("DOCKER_CONFIG")
            if before is not None:
                os.environ["DOCKER_CONFIG"] = before


def _notes(data: bytes) -> object:
    with SCRATCH.folder() as folder:
        notes = read_notes(folder, "team/chat")
        notes.begin_push(3, {"a": "b"})
        (path,) = (each for each in folder.rglob("*") if each.is_file())
        path.write_bytes(data)
        return read_notes(folder, "team/chat")


def _data(name: str):
    return of_file(read_records, name)


def _lock(path: Path) -> object:
    lock = read_lock(path)
    path.write_text(lock_text(lock), encoding="utf-8")
    assert read_lock(path) == lock
    return None


TARGETS = (
    Target("yaml", _yaml, ("documents.yaml_document",), seeds=(b"a: 1\nb:\n  - x\n  - {y: [2, 0.5, true, null]}\n",)),
    Target(
        "strict-json",
        lambda data: parse_object(data, what="it"),
        ("documents.strict_json",),
        seeds=(b'{"a": [1, {"b": "c"}]}',),
    ),
    Target("card", _card, ("documents.model_card", "service.lines.cards")),
    Target("evaluation", lambda data: read_evaluation(parse_object(data, what="it")), ("documents.evaluation",)),
    Target("policy", _policy, ("gate.policy_file", "gate.freeze_window")),
    Target("floor", lambda data: read_floor_file(data, of="team"), ("gate.policy_file",)),
    Target("suite", _suite, ("suites.suite", "suites.needs")),
    Target("suite-file", of_file(read_suite_file, "suite.yaml"), ("client.resources.suites",)),
    Target("catalogue", read_catalogue, ("suites.catalogue",), allowed=(ValueError,)),
    Target("lm-task", _task, ("suites.lm_task",)),
    Target("probe-lines", _samples("p.jsonl"), ("suites.probe_lines",)),
    Target("probe-tensors", _samples("p.safetensors"), ("suites.probe_set",)),
    Target("golden", _golden, ("suites.golden_file",)),
    Target("base-probes", BaseProbes.decode, ("suites.base_probes",), write=BaseProbes.encode),
    Target("access-files", _access, ("client.applying.access_files",)),
    Target("client-config", of_file(read_settings, "config.toml"), ("client.config_file", "documents.toml_document")),
    Target("providers", of_file(read_providers, "oidc.toml"), ("oidc.provider_file",)),
    Target("lock-file", of_file(_lock, "deltas.lock"), ("client.pull.lock_file",)),
    Target(
        "aliases", of_file(lambda path: AliasFile.read(path, [_FOLLOWED]), "aliases.json"), ("client.follow.aliases",)
    ),
    Target("trusted-keys", of_file(TrustedKeys.read, "keys.json"), ("client.trust.trusted_keys",)),
    Target("bisection", _marks, ("client.compare.bisect_marks",)),
    Target("oci-login", _login, ("integrations.oci.logins",)),
    Target("run-notes", _notes, ("integrations.run_notes",)),
    Target("general-texts", of_file(read_texts, "texts.json"), ("client.drafting.general_texts",)),
    Target(
        "data-jsonl",
        _data("rows.jsonl"),
        ("client.drafting.data_files",),
        seeds=(b'{"prompt": "a", "answer": "b"}\n' * 3,),
    ),
    Target(
        "data-json",
        _data("rows.json"),
        ("client.drafting.data_files",),
        seeds=(json.dumps([{"a": "b", "c": [1]}] * 3).encode(),),
    ),
    Target("data-csv", _data("rows.csv"), ("client.drafting.data_files",), seeds=(b'a,b\n1,"x ""y"""\n2,z\n',)),
    Target("data-text", _data("rows.txt"), ("client.drafting.data_files",), seeds=("a b\n\nc é\n".encode(),)),
)
