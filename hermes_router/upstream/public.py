"""Which addresses are of the internet at large: what may be fetched on the word of a caller.

Owns the judgement of one address. It must never resolve a name, or know who asks. What is not surely public is not:
a caller may name any address, and behind some of them stand the owner's own machines.
"""

import ipaddress
import socket
from typing import Final

__all__ = ["is_own", "is_public", "is_strange"]

_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
_SIX_TO_FOUR: Final = ipaddress.ip_network("2002::/16")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NOT_SAID_BY_PYTHON: Final = (
    ipaddress.ip_network("192.0.0.0/24"),  # the IETF's own; 192.0.0.192 is Oracle's metadata
    ipaddress.ip_network("192.88.99.0/24"),  # relays of 6to4: whoever is nearest
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's own host, seen from each of its machines
    ipaddress.ip_network("2001::/23"),  # the IETF's own, Teredo among them
    ipaddress.ip_network("3fff::/20"),  # documentation
)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet: no loopback, no private, shared, link-local or reserved one.

    An IPv6 address that carries one of IPv4 (mapped, 6to4, NAT64) is judged by that. Anything that is no address is
    not public.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        carried = _carried(found)
        if carried is None:
            return found in _GLOBAL_UNICAST and found.scope_id is None and _is_global(found)
        found = carried
    return _is_global(found)


def is_own(address: str) -> bool:
    """Whether it is one of this machine's own: what listens here may be hidden from the internet, not from us.

    However it is spelled, and also where IPv6 carries one of IPv4. The system is asked which address it would speak
    from; nothing is sent.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and (carried := _carried(found)) is not None:
        return _speaks_from(carried) or (found.ipv4_mapped is None and _speaks_from(found))
    return _speaks_from(found)


def is_strange(address: str) -> bool:
    """Whether it may be asked on a caller's word: public, and not our own."""
    return is_public(address) and not is_own(address)


def _speaks_from(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ipaddress.ip_address(probe.getsockname()[0]) == address
    except OSError:  # no way there: then nothing is sent either
        return False


def _is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if any(address in network for network in _NOT_SAID_BY_PYTHON if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that is meant, None where none is."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _SIX_TO_FOUR:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None
