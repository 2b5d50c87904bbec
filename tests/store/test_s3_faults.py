"""The S3 store against a server that fails in ways which a real one does only now and then."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from uuid import uuid4

import pytest

from deltareg.digest import sha256_of
from deltareg.errors import BlobMissing, DiskFull, StoreMisconfigured, StoreUnavailable
from deltareg.store import BlobStore, fresh_key, open_store
from deltareg.store.s3 import S3Options

MIB = 1 << 20


def new_key() -> str:
    return fresh_key(sha256_of(b"x"), attempt=uuid4())


def options_for(port: int) -> S3Options:
    return S3Options(
        endpoint_url=f"http://127.0.0.1:{port}", access_key_id="id", secret_access_key="secret", max_attempts=1
    )


Answer = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Faulty:
    """A server told what to answer to each method, and the store that asks it."""

    store: BlobStore
    answers: dict[str, Answer | Iterator[Answer]]
    seen: list[str]


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    answers: dict[str, Answer | Iterator[Answer]] = {}
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append(f"{self.command} {self.path.partition('?')[2]}")
            answer = answers[self.command]
            status, headers, body = answer if isinstance(answer, tuple) else next(answer)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # a client that has seen enough goes away
                self.wfile.write(b"" if self.command == "HEAD" else body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        store = open_store("s3://bucket", options=options_for(server.server_port))
        yield Faulty(store, answers, seen)
        server.shutdown()
        thread.join()


def refusal(status: int, code: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return status, {"Content-Type": "application/xml"}, body


def part_of(size: int, span: tuple[int, int], body: bytes) -> Answer:
    headers = {"Content-Range": f"bytes {span[0]}-{span[1]}/{size}"}
    return 206, headers | {"Content-Length": str(span[1] - span[0] + 1)}, body


HELD: Answer = (200, {"Content-Length": str(3 * MIB)}, b"")
ABSENT: Answer = (404, {}, b"")


@pytest.mark.parametrize("sent", [0, 1, MIB, 3 * MIB - 1])
def test_an_answer_cut_short_is_an_error_and_not_a_short_object(faulty: Faulty, sent: int) -> None:
    faulty.answers["HEAD"] = HELD
    faulty.answers["GET"] = part_of(3 * MIB, (0, 3 * MIB - 1), b"x" * sent)
    chunks = faulty.store.read(new_key())

    with pytest.raises(StoreUnavailable):
        list(chunks)


def test_a_server_that_ignores_ranges_is_a_wrong_setting(faulty: Faulty) -> None:
    faulty.answers["HEAD"] = HELD
    faulty.answers["GET"] = (200, {}, b"x" * 3 * MIB)

    with pytest.raises(StoreMisconfigured, match="does not answer ranges"):
        faulty.store.read(new_key(), 5, 10)


def test_a_server_that_answers_another_range_is_a_wrong_setting(faulty: Faulty) -> None:
    faulty.answers["HEAD"] = HELD
    faulty.answers["GET"] = part_of(3 * MIB, (0, 4), b"xxxxx")

    with pytest.raises(StoreMisconfigured, match="does not answer ranges"):
        faulty.store.read(new_key(), 5, 10)


def test_an_object_deleted_between_two_requests_is_missing(faulty: Faulty) -> None:
    faulty.answers["HEAD"] = HELD
    faulty.answers["GET"] = refusal(404, "NoSuchKey")

    with pytest.raises(BlobMissing):
        faulty.store.read(new_key())


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (503, "SlowDown", StoreUnavailable),
        (500, "InternalError", StoreUnavailable),
        (502, "BadGateway", StoreUnavailable),
        (429, "TooManyRequests", StoreUnavailable),
        (400, "RequestTimeout", StoreUnavailable),
        (507, "InsufficientStorage", DiskFull),
        (403, "QuotaExceeded", DiskFull),
        (403, "AccessDenied", StoreMisconfigured),
        (403, "RequestTimeTooSkewed", StoreUnavailable),
        (501, "NotImplemented", StoreMisconfigured),
        (400, "AuthorizationHeaderMalformed", StoreMisconfigured),
    ],
)
def test_a_refused_write_becomes_the_error_that_says_what_to_do(
    faulty: Faulty, status: int, code: str, error: type[Exception]
) -> None:
    faulty.answers.update({"HEAD": ABSENT, "PUT": refusal(status, code)})

    with pytest.raises(error, match=f"answered {status} {code} to PutObject"):
        faulty.store.write(new_key(), [b"x"])


def test_a_refusal_without_a_reason_that_is_over_is_none(faulty: Faulty) -> None:
    """The answer to a HEAD has no body that could say why, and a clock may have been set in the meantime."""
    heads = iter([(403, {}, b""), HELD, (403, {}, b""), ABSENT, (403, {}, b""), (403, {}, b"")])

    faulty.answers.update({"HEAD": heads, "GET": (200, {}, b"<R></R>")})

    assert faulty.store.size(new_key()) == 3 * MIB
    assert faulty.store.size(new_key()) is None
    with pytest.raises(StoreMisconfigured, match="answered 403 403 to HeadObject"):
        faulty.store.size(new_key())


def test_a_store_that_holds_another_length_than_was_sent_has_not_stored_it(faulty: Faulty) -> None:
    faulty.answers.update({"HEAD": ABSENT, "PUT": (200, {"ETag": '"x"'}, b"")})

    with pytest.raises(StoreUnavailable, match=r"took 1 bytes of .* and holds None"):
        faulty.store.write(new_key(), [b"x"])


UPLOAD = b"<R><UploadId>one</UploadId></R>"


def test_a_part_that_fails_takes_the_upload_back(faulty: Faulty) -> None:
    faulty.answers.update({"HEAD": ABSENT, "POST": (200, {}, UPLOAD), "DELETE": (204, {}, b"")})
    faulty.answers["PUT"] = refusal(500, "InternalError")

    with pytest.raises(StoreUnavailable, match="to UploadPart"):
        faulty.store.write(new_key(), [b"x" * 9 * MIB])

    assert faulty.seen[-1] == "DELETE uploadId=one"


def test_parts_that_cannot_be_taken_back_are_logged_and_the_first_failure_is_told(
    faulty: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    faulty.answers.update({"HEAD": ABSENT, "POST": (200, {}, UPLOAD)})
    faulty.answers.update({"PUT": refusal(500, "InternalError"), "DELETE": refusal(503, "SlowDown")})

    with pytest.raises(StoreUnavailable, match="to UploadPart"):
        faulty.store.write(new_key(), [b"x" * 9 * MIB])

    assert "parts stay in the bucket" in caplog.text
