"""Which addresses may be asked on a caller's word: a table of them, and this machine's own."""

import pytest

from hermes_router.upstream.public import is_own, is_public, is_strange

PUBLIC = (
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.1.1",
    "2606:4700:4700::1111", "2a00:1450:4001:831::200e", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
)  # fmt: skip
HIDDEN = (
    # this machine, and "this network"
    "127.0.0.1", "127.1.2.3", "::1", "0.0.0.0", "0.1.2.3", "::",
    # private, shared between a carrier's customers, link-local, and the metadata of clouds
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255", "100.100.100.200",
    "169.254.1.1", "169.254.169.254", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fc00::1", "fe80::1",
    "fe80::1%lo", "fec0::1",
    # nobody's, everybody's, and what is kept for books and benches
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "192.88.99.1", "ff02::1", "ff0e::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    # an address within an address
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::a00:1", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1",
    # no address at all
    "", "localhost", "example.com", "127.1", "2130706433", "0x7f000001", "[::1]",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_of_the_internet_is_public(address: str) -> None:
    """Also beside the private ranges, and where IPv6 carries an address of IPv4."""
    assert is_public(address)


@pytest.mark.parametrize("address", HIDDEN)
def test_what_is_not_surely_public_is_not(address: str) -> None:
    """Neither is what is spelled in a way that only a resolver reads."""
    assert not is_public(address)
    assert not is_strange(address)


def test_our_own_addresses_are_told_by_where_we_would_speak_from() -> None:
    """The system would speak to its own address from that very address."""
    assert is_own("127.0.0.1")
    assert not is_own("127.0.0.2")


@pytest.mark.parametrize(
    "address",
    ["::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:ffff:7f00:0001", "0:0:0:0:0:0:0:1", "::0001", "64:ff9b::7f00:1",
     "2002:7f00:1::"],
)  # fmt: skip
def test_our_own_addresses_are_told_however_they_are_spelled(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Values are compared, not texts; an IPv4 address of ours within an IPv6 one is ours."""
    assert is_own(address)
    monkeypatch.setattr("hermes_router.upstream.public.is_public", lambda _: True)
    assert not is_strange(address)


@pytest.mark.parametrize("address", ["::ffff:127.0.0.2", "::ffff:7f00:2", "", "localhost", "[::1]"])
def test_what_we_do_not_speak_from_is_not_ours(address: str) -> None:
    """Neither in another spelling, nor what is no address."""
    assert not is_own(address)


@pytest.mark.parametrize("own", [True, False])
def test_a_public_address_of_this_machine_is_none_to_ask(monkeypatch: pytest.MonkeyPatch, own: bool) -> None:
    """What listens on it may be hidden from the internet by a packet filter, which does not stand between us and us."""
    monkeypatch.setattr("hermes_router.upstream.public.is_own", lambda _: own)
    assert is_strange("8.8.8.8") is not own
