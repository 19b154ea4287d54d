# SPDX-License-Identifier: GPL-3.0-or-later
"""The private link between emulated hosts: a switch for their Ethernet frames, over Unix sockets in one folder."""
import socket
import struct
import threading

FRAME = 65536  # octets at most, with room to spare
PATIENCE = 0.5  # seconds that a frame waits for a host that does not take it


class Link:
    """A switch, in threads of this process. Host number N, from 1 on, has the address 52:54:00:00:02:0N."""

    def __init__(self, folder, names):
        self.folder = folder
        self.names = names
        for name in names:
            # It takes no more than the other hosts do: a host that sends faster has to wait.
            incoming = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            incoming.bind(f"{folder}/from-{name}")
            incoming.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, int(PATIENCE * 1e6)))
            threading.Thread(target=self._carry, args=(name, incoming), daemon=True).start()

    def _carry(self, sender, incoming):
        """Passes on one host's frames, to the host that has the address, or to all others."""
        others = [name for name in self.names if name != sender]
        while True:
            frame = incoming.recv(FRAME)
            number = frame[5] if frame[:5] == b"\x52\x54\x00\x00\x02" else 0
            wanted = self.names[number - 1] if 1 <= number <= len(self.names) else None
            for name in others:
                if wanted in (name, None):
                    try:
                        incoming.sendto(frame, f"{self.folder}/to-{name}")
                    except OSError:
                        pass  # that host is gone, or takes nothing: so the frame is lost

    def arguments(self, name):
        """QEMU's arguments for this host's end. Jumbo frames: each costs an emulated host as much as a small one."""
        local, remote = (f"{way}.type=unix,{way}.path={self.folder}" for way in ("local", "remote"))
        address = f"52:54:00:00:02:0{self.names.index(name) + 1}"
        return [
            *("-netdev", f"dgram,id=link,{local}/to-{name},{remote}/from-{name}"),
            *("-device", f"virtio-net-pci,netdev=link,mac={address},romfile=,host_mtu=9000"),
        ]
