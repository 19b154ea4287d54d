# SPDX-License-Identifier: GPL-3.0-or-later
"""Real taps, each host's in a network namespace of its own, and kernels that lack something that tun devices can do.

Needs root; without it, tests are skipped. Nothing of it is left when the processes of the test have ended.
"""
import os
import shutil
from pathlib import Path

from .fleet import ip, own_network
from .host import Host
from .pair import Pair
from .wait import Failure, Skip

NETWORK = "10.78.0"
TAP = "tap0"  # in every namespace


def tun_without(t, words=""):
    """The environment of a host whose tun devices lack these (tests/tun_without.c), or {}."""
    if not words:
        return {}
    places = [Path(os.environ.get(name) or "/nowhere").parent for name in ("QML_PROGRAM", "QML_BAD_PEER")]
    for place in places:
        library = place / "tun-without.so"
        if library.exists():
            result = {"LD_PRELOAD": str(library), "QML_TUN_WITHOUT": words}
            if os.environ.get("QML_SANITIZED"):  # a sanitizer does not like to come second
                result["ASAN_OPTIONS"] = f"{t.environment()['ASAN_OPTIONS']}:verify_asan_link_order=0"
            return result
    raise Skip("tun-without.so is neither beside the program nor beside QML_BAD_PEER")


class Namespace:
    """A network namespace, for as long as the test; .enter are the words that run what follows there."""

    def __init__(self, t, name):
        if os.geteuid() != 0:
            raise Skip("network namespaces need root")
        for program in ("ip", "nsenter", "unshare"):
            if not shutil.which(program):
                raise Skip(f"no {program}")
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            raise Skip("no /dev/net/tun")
        script = "ip link set lo up && echo ready && exec sleep infinity"
        self.holder = t.start("unshare", "--net", "sh", "-c", script, name=f"{name}-namespace")
        try:
            self.holder.wait_output("ready")
        except Failure as failure:
            raise Skip(f"no network namespaces here: {failure}: {self.holder.stderr().strip()}") from None
        self.enter = ["nsenter", f"--target={self.holder.pid}", "--net", "--"]


def devices(disk, net="", blk="", netdev=None):
    """QEMU's arguments of a virtio-net on a tap (or `netdev`, without its id), a virtio-blk on a raw image, a virtio-rng.
    net, blk: more of the device's properties, with a comma in front."""
    netdev = netdev or f"tap,ifname={TAP},script=no,downscript=no"
    return [
        *("-netdev", f"{netdev},id=n0", "-device", f"virtio-net-pci,id=n0,netdev=n0,mac=52:54:00:12:34:56{net}"),
        *("-drive", f"if=none,id=disk0,format=raw,file={disk}", "-device", f"virtio-blk-pci,drive=disk0{blk}"),
        *("-device", "virtio-rng-pci"),
    ]


def make_disk(folder):
    """A raw image of a megabyte that both hosts can reach; its path."""
    path = Path(folder) / "disk.img"
    with open(path, "ab") as image:
        image.truncate(1 << 20)
    return path


class TapHost(Host):
    """A host in a network namespace of its own, at .address. Its tun devices may lack something (.env)."""

    def __init__(self, t, name, number, without=""):
        super().__init__(t, name)
        self.namespace = Namespace(t, name)
        self.address = f"{NETWORK}.{number}"
        self.env = tun_without(t, without)
        cable = f"to-{name}"
        steps = [
            ("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", self.namespace.holder.pid),
            ("link", "set", cable, "master", "bridge0", "up"),
        ]
        for step in steps:
            done = ip(*step)
            if done.returncode:
                raise Skip(f"no network between namespaces here: ip {' '.join(map(str, step))}: {done.stderr.strip()}")
        for step in (("addr", "add", f"{self.address}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            t.run(*self.namespace.enter, "ip", *step, check=0)

    def argv(self, *args):
        return [*self.namespace.enter, *super().argv(*args)]


class TapPair(Pair):
    """A Pair whose hosts have a network namespace each.

    without_a, without_b: what the kernel of the host lacks (tun_without).
    """

    def __init__(self, t, without_a="", without_b="", **how):
        self.without = {"a": without_a, "b": without_b}
        self.begin_network()
        super().__init__(t, **how)

    def begin_network(self):
        """A bridge in a network of the test's own, which the hosts' cables go to."""
        own_network()
        for step in (
            ("link", "set", "lo", "up"),
            ("link", "add", "bridge0", "type", "bridge"),
            ("link", "set", "bridge0", "up"),
        ):
            done = ip(*step)
            if done.returncode:
                raise Skip(f"no bridge here: ip {' '.join(step)}: {done.stderr.strip()}")

    def make_host(self, name):
        return TapHost(self.t, name, "ab".index(name) + 1, self.without[name])
