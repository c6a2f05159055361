"""Who is at the other end of a Unix socket, and what that person may do.

Owns the kernel's answer (facts/os.md 4.2) and the rule of permissions, which is pure. It must never trust anything that
the peer says of itself; the pid is for messages only, since pids are used again.
"""

import socket
import struct
import sys
from collections.abc import Collection
from typing import Final, Literal, NamedTuple

__all__ = ["NONE", "Peer", "Permission", "peer_of", "peer_of_descriptor", "permissions"]

Permission = Literal["read", "write"]

ALL: Final[frozenset[Permission]] = frozenset({"read", "write"})
READ: Final[frozenset[Permission]] = frozenset({"read"})
NONE: Final[frozenset[Permission]] = frozenset()

# Not in Python's socket module. Linux: SO_PEERGROUPS, at most a page's worth of bytes; macOS: sys/un.h, sys/ucred.h.
_SO_PEERGROUPS: Final = 59
_MOST_GROUP_BYTES: Final = 1024
_SOL_LOCAL: Final = 0
_LOCAL_PEERCRED: Final = 1
_LOCAL_PEERPID: Final = 2
_XUCRED: Final = struct.Struct("=IIhxx16I")  # version, uid, number of groups, groups
_XUCRED_VERSION: Final = 0
_LINUX_CREDENTIALS: Final = struct.Struct("=iII")  # pid, uid, gid


class Peer(NamedTuple):
    """A process: its effective uid, all its groups, and its pid where the kernel tells."""

    uid: int
    gids: frozenset[int]
    pid: int | None = None


def permissions(
    uid: int, gids: Collection[int], *, own_uid: int, readers_gid: int | None = None
) -> frozenset[Permission]:
    """What a peer may do: the daemon's own user and root all, a member of the readers' group look, others nothing.

    `readers_gid` is the gid of the group `hermes-router` for the system service, None for a person's own daemon.
    """
    if uid in {0, own_uid}:
        return ALL
    if readers_gid is not None and readers_gid in gids:
        return READ
    return NONE


def peer_of_descriptor(descriptor: int, platform: str = sys.platform) -> Peer:
    """The peer of a socket that somebody else owns (uvloop's, asyncio's); raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=descriptor)
    try:
        return peer_of(sock, platform)
    finally:
        sock.detach()


def peer_of(sock: socket.socket, platform: str = sys.platform) -> Peer:
    """The process that connected, or on its side the one that listens; raises OSError where the kernel does not say."""
    if platform == "darwin":
        uid, gids = parse_xucred(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size))
        return Peer(uid, gids, sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID))
    pid, uid, gid = _LINUX_CREDENTIALS.unpack(
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _LINUX_CREDENTIALS.size)
    )
    return Peer(uid, frozenset({gid, *_linux_groups(sock)}), pid or None)


def _linux_groups(sock: socket.socket) -> frozenset[int]:
    """The supplementary groups; none where the kernel is too old, or where there are more than it can tell."""
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUP_BYTES)
    except OSError:
        return frozenset()
    return frozenset(gid for (gid,) in struct.iter_unpack("=I", raw))


def parse_xucred(raw: bytes) -> tuple[int, frozenset[int]]:
    """MacOS's `struct xucred`: uid and groups, the effective one first. Raises OSError where it is of another shape."""
    if len(raw) != _XUCRED.size:
        raise OSError(f"the kernel described the peer in {len(raw)} bytes")
    version, uid, number, *groups = _XUCRED.unpack(raw)
    if version != _XUCRED_VERSION or not 0 <= number <= len(groups):
        raise OSError(f"the kernel described the peer in version {version}")
    return uid, frozenset(groups[:number])
