"""Where a fetch may go: to what the configuration writes, and never to what only this machine's network can reach."""

from __future__ import annotations

import pytest
from aiohttp.helpers import is_ip_address

from comfyledger.core.addresses import LOCALHOST, is_written, why_never, why_not

NEVER = [
    "169.254.169.254",
    "fe80::1",
    "::ffff:169.254.169.254",
    "224.0.0.1",
    "ff02::1",
    "0.0.0.0",
    "::",
    "::ffff:0.0.0.0",
    "255.255.255.255",
    "2002:a9fe:a9fe::1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "2001:0:a9fe:a9fe::1",
    "2001:0:5db8:d70e::5601:5601",
    "no address",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.254.169.254.",
    "fe80::1%eth0",
]
INSIDE = [
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "10.0.0.7",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "fd00::7",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.7",
    "2002:7f00:1::1",
    "64:ff9b::a00:7",
    "64:ff9b:1::5db8:d70e",
    "::127.0.0.1",
    "::ffff:0:10.0.0.7",
    "2001:0:5db8:d70e::f5ff:fff8",
    "fec0::7",
    "192.0.0.192",
    "198.18.0.1",
]
"""Among them carrier NAT, Teredo, which hides its client's address, and networks for tests."""
OUTSIDE = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]


@pytest.mark.parametrize("host", ["images.example", "localhost", "169.254.169.254"])
@pytest.mark.parametrize("address", NEVER)
def test_no_name_and_no_configuration_leads_to_such_an_address(host: str, address: str) -> None:
    assert why_not(host, address)


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_of_this_network_must_be_written_as_one(address: str) -> None:
    assert "loopback or private" in why_not("images.example", address)
    assert why_not(address, address) == ""
    assert why_not("localhost", address) == ""


@pytest.mark.parametrize("address", OUTSIDE)
def test_any_name_may_lead_outside(address: str) -> None:
    assert why_not("images.example", address) == ""


@pytest.mark.parametrize("host", ["2130706433", "127.1", "127.0.0.1.", "017700000001", "1.2.3.4.5", "٣.1.1.1"])
def test_a_number_that_no_resolver_sees_leads_nowhere(host: str) -> None:
    """aiohttp gives such a host to the system, which may read it as an address of this machine."""
    assert is_written(host)
    assert why_never(host)
    assert why_not(host, host)


@pytest.mark.parametrize(
    "host", ["1.2.3.4", "127.1", "1", "::1", "fe80::1%1", "a1.example", "0x7f.1", "1.2.3.x", "xn--1"]
)
def test_what_is_written_is_what_aiohttp_does_not_resolve(host: str) -> None:
    assert is_written(host) == is_ip_address(host)
    assert is_written(LOCALHOST)
