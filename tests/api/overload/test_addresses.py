"""Whose address a request counts for: what proxies say is believed as far as they wrote it."""

import pytest

from deltareg.api.overload.address import client_address, network_of
from deltareg.api.overload.descriptors import most_connections


def scope(*lines, peer="10.0.0.1"):
    return {"client": (peer, 1), "headers": [(b"x-forwarded-for", line.encode()) for line in lines]}


@pytest.mark.parametrize(
    ("lines", "proxies", "address"),
    [
        (["6.6.6.6"], 0, "10.0.0.1"),  # nobody in front: the header is the client's own invention
        ([], 1, "10.0.0.1"),
        (["1.1.1.1"], 1, "1.1.1.1"),
        (["6.6.6.6, 1.1.1.1"], 1, "1.1.1.1"),  # what stands left of it the client wrote itself
        (["6.6.6.6", "1.1.1.1"], 1, "1.1.1.1"),
        (["6.6.6.6, 1.1.1.1, 10.0.0.9"], 2, "1.1.1.1"),
        (["1.1.1.1"], 2, "1.1.1.1"),
        (["1.1.1.1:5555"], 1, "1.1.1.1"),
        (["[2001:db8::1]:443"], 1, "2001:db8::/64"),
        (["unknown"], 1, ""),
        (["x" * 5000], 1, ""),
        ([" , ,"], 1, "10.0.0.1"),
    ],
)
def test_the_address_is_what_the_last_proxies_wrote(lines, proxies, address):
    assert client_address(scope(*lines), proxies=proxies) == address


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1:a:b:c:d", "2001:db8:0:1::/64"),
        ("2001:db8:0:1::", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_one_customer_is_one_address(address, network):
    assert network_of(address) == network


def test_connections_fit_under_the_limit_of_files():
    assert most_connections(1_024, database_connections=30) == 740
    assert most_connections(65_536, database_connections=30) == 8_000
    assert most_connections(256, database_connections=30) == 32
