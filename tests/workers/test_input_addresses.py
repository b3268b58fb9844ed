"""Where a fetch may go: to what the configuration writes, and never to what only this machine's network can reach."""

from __future__ import annotations

import pytest

from comfyledger.workers.inputs.addresses import why_not

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
    "no address",
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
]
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
