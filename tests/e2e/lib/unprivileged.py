# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts whose program and QEMU run without root, on taps that somebody with the rights has opened for them."""
import fcntl
import os
import shutil
import struct

from .device_pair import DevicePair
from .fleet import ip, own_network
from .host import Host
from .wait import Skip

USER = 65534  # nobody
TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
# /dev/net/tun may be open to all, and a user namespace gives rights over a network of one's own: not on these hosts.
BEGIN = 'mount --bind "$1" /dev/net/tun && shift && exec "$@"'


def open_tap(name):
    """A tap in this process's network namespace, for QEMU's `-netdev tap,fd=`."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    return descriptor


class UserHost(Host):
    """A host of a user without rights, who cannot open /dev/net/tun."""

    def __init__(self, t, name, program):
        super().__init__(t, name)
        os.chown(self.home, USER, USER)
        self.program = program
        self.tap = open_tap(f"tap-{name}")
        self.closed = t.dir / f"{name}-closed"
        self.closed.touch(mode=0)

        tried = t.run(*self.enter(), "true")
        if tried.returncode:
            raise Skip(f"no mount namespaces here, or no other users: {tried.stderr.strip()}")

    def enter(self):
        """The words that run what follows as that user."""
        return [
            *("unshare", "--mount", "sh", "-c", BEGIN, "sh", self.closed),
            *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"),
        ]

    def argv(self, *args):
        return [*self.enter(), self.program, *super().argv(*args)[1:]]

    def write_config(self, text):
        path = super().write_config(text)
        for made in (path.parent, path):
            os.chown(made, USER, USER)
        return path

    def start(self, *args, **options):
        return super().start(*args, pass_fds=(self.tap,), **options)


class UserPair(DevicePair):
    """A DevicePair of UserHosts, both in the test's own network."""

    def __init__(self, t, **how):
        for program in ("setpriv", "unshare"):
            if not shutil.which(program):
                raise Skip(f"no {program}")
        os.chmod(t.dir.parent, 0o711)
        os.chown(t.dir, USER, USER)
        self.program = t.dir / "qemu-migrate-launch"
        shutil.copy(t.program, self.program)
        super().__init__(t, **how)
        os.chown(self.disk, USER, USER)

    def begin_network(self):
        own_network()
        ip("link", "set", "lo", "up")

    def make_host(self, name):
        return UserHost(self.t, name, self.program)

    def guest(self, name, serial=None, more=()):
        host = self.a if name == "a" else self.b
        self.netdev = f"tap,fd={host.tap}"
        return super().guest(name, serial, more)
