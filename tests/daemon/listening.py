"""The other end of NOTIFY_SOCKET, as a test holds it."""

import os
import socket


class Manager:
    """The other end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        """What has come since."""
        found = []
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.socket, 8192, 4)
            except BlockingIOError:
                return found
            for number in fds:
                os.close(number)
            found.append(data.decode().split("\n"))

    def lines(self) -> list[str]:
        return [line for lines in self.heard() for line in lines]
