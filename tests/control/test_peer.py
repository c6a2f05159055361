"""Who is at the other end of a Unix socket, and what that person may do."""

import os
import socket
import struct
from itertools import product
from pathlib import Path

import pytest

from hermes_router.control.peer import Peer, parse_xucred, peer_of, peer_of_descriptor, permissions

ALL, READ, NONE = {"read", "write"}, {"read"}, set()
XUCRED = struct.Struct("=IIhxx16I")


def test_permissions_are_a_pure_table_of_uid_and_groups() -> None:
    """Own user and root: all. A member of the readers' group: look. Others nothing; no group at all lets nobody in."""
    for uid, gids, readers in product((0, 1000, 1500), ((), (1500,), (77,), (5, 77)), (None, 77)):
        first = permissions(uid, gids, own_uid=1000, readers_gid=readers)
        assert first == permissions(uid, gids, own_uid=1000, readers_gid=readers)
        assert first == (ALL if uid in (0, 1000) else READ if readers in gids else NONE)


def test_a_daemon_of_root_answers_root_alone() -> None:
    """uid 0 as the owner does not open anything to others; group 0 is a group like any other."""
    assert permissions(1500, (0,), own_uid=0) == NONE
    assert permissions(1500, (0,), own_uid=0, readers_gid=77) == NONE
    assert permissions(0, (), own_uid=0) == ALL


def test_the_kernel_names_the_peer_on_both_sides() -> None:
    """Uid, groups and pid of a connected pair are ours, by socket and by descriptor, and the socket lives on."""
    left, right = socket.socketpair()
    with left, right:
        for peer in (peer_of(left), peer_of_descriptor(right.fileno())):
            assert (peer.uid, peer.pid) == (os.geteuid(), os.getpid())
            assert peer.gids >= {os.getegid(), *os.getgroups()}
        left.sendall(b"x")
        assert right.recv(1) == b"x"


def test_what_is_no_socket_has_no_peer(tmp_path: Path) -> None:
    """An OSError, and the descriptor is not closed."""
    with (tmp_path / "f").open("w") as file, pytest.raises(OSError):
        peer_of_descriptor(file.fileno())
    assert file.closed


class MacSocket:
    """A socket as macOS's kernel answers for it."""

    def __init__(self, raw: bytes, pid: int) -> None:
        self.raw, self.pid = raw, pid

    def getsockopt(self, level: int, option: int, size: int = 0) -> bytes | int:
        assert level == 0
        return self.raw[:size] if option == 1 else self.pid


def test_macos_tells_the_peer_in_an_xucred() -> None:
    """LOCAL_PEERCRED has uid and groups, LOCAL_PEERPID the pid (sys/un.h, sys/ucred.h)."""
    raw = XUCRED.pack(0, 501, 3, 20, 12, 61, *[0] * 13)
    assert len(raw) == 76
    assert peer_of(MacSocket(raw, 4242), "darwin") == Peer(501, frozenset({20, 12, 61}), 4242)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bytes(75),
        XUCRED.pack(1, 501, 0, *[0] * 16),
        XUCRED.pack(0, 501, 17, *[0] * 16),
        XUCRED.pack(0, 0, -1, *[0] * 16),
    ],
)
def test_an_xucred_of_another_shape_is_nobody(raw: bytes) -> None:
    """Another length, version or an impossible number of groups is an error, never uid 0."""
    with pytest.raises(OSError):
        parse_xucred(raw)
