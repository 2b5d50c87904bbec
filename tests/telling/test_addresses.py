"""Where webhooks go: not into networks that only the server reaches, however that is written."""

import socket
import threading
from ipaddress import ip_address, ip_network

import anyio
import pytest

from deltareg.errors import InvalidInput
from deltareg.service.telling import send as sending
from deltareg.service.telling.addresses import WebhookAddress, pin_addresses
from deltareg.service.telling.send import WebhookMessage, send
from tests.telling.told import LOOPBACK, receiver

INSIDE = """
127.0.0.1 127.1 127.255.255.254 2130706433 0x7f000001 0177.0.0.1 0x7f.1 0 0.0.0.0 localhost
localhost. LOCALHOST 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1
192.168.255.255 169.254.169.254 169.254.0.1 2852039166 0xa9fea9fe 0251.0376.0251.0376 100.64.0.1
100.100.100.200 168.63.129.16 192.0.0.192 192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.7
203.0.113.9 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 [::1] [::] [::ffff:127.0.0.1]
[::ffff:10.0.0.1] [::ffff:7f00:1] [::ffff:169.254.169.254] [::127.0.0.1] [::10.0.0.1]
[0:0:0:0:0:0:0:1] [0:0:0:0:0:ffff:127.0.0.1] [fe80::1] [febf::1] [fec0::1] [fc00::1] [fd00::1]
[fd00:ec2::254] [ff02::1] [ff0e::1] [64:ff9b::7f00:1] [64:ff9b::10.0.0.1] [64:ff9b::a9fe:a9fe]
[64:ff9b:1::1] [2002:7f00:1::] [2002:0a00:0001::1] [2002:a9fe:a9fe::] [2001:0:7f00:1::]
[2001:db8::1] [100::1] [2001:0:4136:e378:8000:63bf:80ff:fffe] [5f00::1] [4000::1]
"""
ODD = [
    "ftp://example.org/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "dict://127.0.0.1/",
    "javascript:alert(1)",
    "//example.org/",
    "example.org",
    "",
    "http://",
    "https:///x",
    "http:///",
    "http://user:pw@example.org/",
    "http://user@example.org/",
    "http://example.org:99999/",
    "http://example.org:0/",
    "http://[::1/",
    "http://exa mple.org/",
    "http://example.org/\r\nX: y",
    "http://example.org\\@127.0.0.1/",
    "http://ex\u00e4mple.org/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://127.0.0.1\t/",
    "https://example.org/{x}",
]


@pytest.fixture
def connects(monkeypatch):
    """Note every connection that is opened; none is."""
    asked = []

    def note(_self, address):
        asked.append(address)
        raise OSError("closed for tests")

    monkeypatch.setattr(socket.socket, "connect", note)
    return asked


def try_once(url, networks=(), **more):
    message = WebhookMessage(WebhookAddress.parse(url), b"{}", {})
    return anyio.run(lambda: send(message, networks, timeout_s=5, **more))


def test_no_address_inside_is_connected_to(connects):
    hosts = INSIDE.split()
    for url in [f"http://{host}/" for host in hosts] + [f"https://{host}:8443/" for host in hosts]:
        outcome = try_once(url)

        assert outcome.status is None, url
        assert "open Internet" in outcome.description or "not found" in outcome.description, (url, outcome.description)
    assert connects == []
    assert len(hosts) + len(ODD) >= 80


@pytest.mark.parametrize("url", ODD)
def test_what_is_no_address_of_a_receiver_is_refused(url):
    with pytest.raises(InvalidInput):
        WebhookAddress.parse(url)


def test_one_address_inside_among_others_is_too_many():
    target = WebhookAddress.parse("https://both.example/")

    with pytest.raises(InvalidInput, match=r"both\.example leads to 10\.0\.0\.7") as refused:
        pin_addresses(target, (), resolving=lambda *_: ["93.184.215.14", "10.0.0.7"])

    assert "DELTAREG_WEBHOOK_NETWORKS=10.0.0.7/32" in refused.value.fix


def test_a_network_that_is_listed_is_called_and_no_other():
    target = WebhookAddress.parse("http://inside.example/")
    allowed = (ip_network("10.1.0.0/16"), ip_network("fd12::/32"))

    for ip in ("10.1.2.3", "fd12::7", "::ffff:10.1.2.3", "93.184.215.14"):
        (found,) = pin_addresses(target, allowed, resolving=lambda *_, ip=ip: [ip])
        assert ip_address(found) == ip_address(ip)
    for ip in ("10.2.0.1", "127.0.0.1", "fd13::7", "::ffff:10.2.0.1"):
        with pytest.raises(InvalidInput):
            pin_addresses(target, allowed, resolving=lambda *_, ip=ip: [ip])


def test_a_name_that_means_another_address_a_moment_later_gains_nothing():
    """DNS rebinding: what was looked at is what is called, and a later try looks again."""
    answers = [["127.0.0.1"], ["127.0.0.2", "10.0.0.1"]]
    with receiver() as here:
        url = here.url.replace("127.0.0.1", "rebound.example")

        first = try_once(url, LOOPBACK, resolving=lambda *_: answers.pop(0))
        second = try_once(url, LOOPBACK, resolving=lambda *_: answers.pop(0))

    assert (first.status, first.description) == (200, "")
    assert second.status is None
    assert "leads to 10.0.0.1" in second.description
    assert [each.headers["host"].partition(":")[0] for each in here.got] == ["rebound.example"]


def test_no_redirect_is_followed_and_no_proxy_is_asked(monkeypatch):
    with receiver() as inside:

        def answer(request):
            request.send_response(307)
            request.send_header("Location", f"{inside.url}/secret")
            request.send_header("Content-Length", "0")
            request.end_headers()

        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, inside.url)
        with receiver(answer) as outside:
            outcome = try_once(outside.url, LOOPBACK)

    assert (outcome.status, len(outside.got), inside.got) == (307, 1, [])
    assert "redirects are not followed" in outcome.description


def test_answers_are_bounded_in_size_and_time():
    def endless(request):
        request.send_response(200)
        request.send_header("Content-Length", str(1 << 40))
        request.end_headers()
        request.wfile.write(b"x" * 100_000)

    def garbage(request):
        request.wfile.write(b"\0\1 this is not HTTP at all\r\n\r\n")
        request.close_connection = True

    over = threading.Event()

    def dripping(request):
        while not over.wait(0.1):
            request.wfile.write(b"H")
            request.wfile.flush()
        request.close_connection = True

    with receiver(endless) as here:
        assert try_once(here.url, LOOPBACK).is_ok
    with receiver(garbage) as here:
        assert try_once(here.url, LOOPBACK).description.startswith("no answer")
    with receiver(dripping) as here:
        message = WebhookMessage(WebhookAddress.parse(here.url), b"{}", {})
        outcome = anyio.run(lambda: send(message, LOOPBACK, timeout_s=0.4))
        over.set()
    assert outcome.description == "no answer within 0.4 seconds"
    assert sending.TIMEOUT_S <= 30
