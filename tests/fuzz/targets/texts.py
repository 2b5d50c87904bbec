"""Texts that people type and addresses carry: references, times, sizes, cursors, places, labels, headers."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from deltareg.api.byte_ranges import asked_range, has_tag
from deltareg.client.follow.by_name.names import read_channel, read_name
from deltareg.client.follow.release import FollowedChannel, read_folder_name
from deltareg.client.mirror.known_mirrors import name_of
from deltareg.client.quantities import parse_age, parse_duration, parse_size, read_moment
from deltareg.digest import Digest
from deltareg.host.token_files import token_path
from deltareg.integrations.addresses import parse_address
from deltareg.integrations.oci.places import parse_place
from deltareg.refs import LineRef, Ref, parse_base, parse_channel, parse_id, parse_name, parse_semver
from deltareg.service.access.explain import parse_resource
from deltareg.service.bases.variants import parse_hub_id
from deltareg.service.channels.fleet import parse_followed
from deltareg.service.clock import parse_time
from deltareg.service.lines.search import read_bound
from deltareg.service.paging import cursor_at, read_cursor, read_mark_cursor, read_number_cursor
from deltareg.service.runs.demand import read_labels
from deltareg.service.telling.cloud_events import read_id
from deltareg.store.blob_store import check_prefix, folder_of_log, is_key, parse_deletable, parse_evidence, parse_key
from deltareg.store.buckets import read_bucket_url
from deltareg.store.schemes import find_scheme
from deltareg.suites.reference import read_reference
from deltareg_cli.options.where import parse_where
from tests.fuzz.target import Target, of_text

_HASH = "sha256:" + "ab" * 32
_KEY = "blobs/" + "ab" * 32 + "/0f0f0f0f-0000-4000-8000-000000000000"


def _headers(data: bytes) -> object:
    value, _, tags = data.partition(b"\n")
    scope = {"type": "http", "headers": [(b"range", value), (b"if-none-match", tags), (b"if-range", tags)]}
    asked = Request(scope)
    has_tag(asked, '"t"')
    span = asked_range(asked, size_bytes=100, tag='"t"')
    assert span is None or (span[0] >= 0 and span[1] <= 100)
    return None


def _text(
    name: str, read: Callable[[str], Any], *seeds: str, modules: tuple[str, ...] = (), spelled: bool = False
) -> Target:
    write = (lambda value: str(value).encode()) if spelled else None
    return Target(f"text-{name}", of_text(read), modules, tuple(seed.encode() for seed in seeds), write)


TARGETS = (
    _text(
        "ref",
        Ref.parse,
        "team/chat",
        "team/chat:v3",
        "team/chat@prod",
        "team/chat@prod~2",
        "team/chat@prod#17",
        "h.example:8/team/chat:1.2.3",
        f"team/chat@{_HASH}",
        spelled=True,
    ),
    _text("line", LineRef.parse, "team/chat", spelled=True),
    _text("digest", Digest.parse, _HASH, "blake3:" + "0f" * 32, spelled=True),
    _text("name", parse_name, "chat-7b.x"),
    _text("base", parse_base, "llama-3.1-8b", "org.model"),
    _text("channel", parse_channel, "prod"),
    _text("id", lambda text: parse_id(text, "run"), "0f0f0f0f-0000-4000-8000-000000000000"),
    _text("semver", parse_semver, "1.2.3-rc.1+b"),
    _text("duration", parse_duration, "90", "1d12h", "30s", "1.5h", "500ms"),
    _text("age", parse_age, "30d", "1w2d"),
    _text("moment", read_moment, "2026-12-01", "2026-12-01T10:00:00Z", "3d", "1d12h", modules=("client.quantities",)),
    _text("size", parse_size, "10G", "1.5 GiB", "200"),
    _text("time", parse_time, "2026-12-01", "2026-12-01T10:00:00.5+02:00", modules=("service.clock",)),
    _text("cursor", read_cursor, cursor_at("a"), modules=("service.paging",)),
    _text("number-cursor", read_number_cursor, cursor_at(12), modules=("service.paging",)),
    _text("mark-cursor", read_mark_cursor, cursor_at("12/a"), modules=("service.paging",)),
    _text("resource", parse_resource, "team", "team/chat", "team/chat@prod", "base:llama"),
    _text("hub-id", parse_hub_id, "org/model", "org/model@main"),
    _text("bound", read_bound, "acc>=0.5", "loss<1e-3"),
    _text("event-id", read_id, "12", "12-3f"),
    _text("followed", parse_followed, "team/chat@prod"),
    _text("followed-channel", FollowedChannel.parse, "team/chat@prod"),
    _text("folder-name", read_folder_name, "team.chat.3.abcdef0123456789", "team--chat--3"),
    _text("served-name", read_name, "team/chat:3", "team/chat@prod"),
    _text("served-channel", read_channel, "team/chat@prod"),
    _text("oci-place", parse_place, "oci://ghcr.io/org/name:tag", "oci-layout:/x:tag", f"oci://h:5000/a/b@{_HASH}"),
    _text(
        "address", parse_address, "deltareg://h.example/team/chat@prod/adapter_config.json", "deltareg://team/chat:3"
    ),
    _text("token-path", token_path, "https://r.example:8443/x", "http://[::1]:80"),
    _text("mirror-name", name_of, "https://r.example:8443/x"),
    _text("blob-key", lambda text: (is_key(text), parse_key(text)), _KEY),
    _text("evidence-name", parse_evidence, "log/here/" + "0" * 18 + "-" + "ab" * 8),
    _text("deletable", parse_deletable, _KEY),
    _text("log-folder", folder_of_log, "here-log"),
    _text("prefix", check_prefix, "sha256/ab/"),
    _text("bucket", read_bucket_url, "s3://bucket/prefix", "gs://b"),
    _text("scheme", find_scheme, "s3://bucket/prefix", "file:///x", "memory://"),
    _text("reference", read_reference, "prod", "best of 3", "best"),
    _text("where", lambda text: parse_where(text.split(" ")), "local", "cuda H100", "zone=eu cpu"),
    _text("run-labels", lambda text: read_labels(text.split(",")), "a=b,device=cuda"),
    Target("range-headers", _headers, (), seeds=(b'bytes=0-9\n"t"', b'bytes=-5\nW/"t", "x"', b"bytes=5-\n*")),
)
