# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts with real taps that launch the virtio guest through the program, and the ways that it goes between them."""
from .harness import check_equal
from .negotiator import NegotiatorSerial, build_negotiator
from .pair import VM, Launched
from .process import free_port
from .taps import TapPair, devices, make_disk


class DevicePair(TapPair):
    """A TapPair whose guest has a virtio-net on its host's tap, a virtio-blk and a virtio-rng, on .machine (None: no
    -machine). netdev, net: as lib/taps.py's devices."""

    def __init__(self, t, machine="q35", netdev=None, net="", **how):
        self.machine, self.netdev, self.net = machine, netdev, net
        self.port_back = free_port()
        self.image, self.disk = build_negotiator(t.dir), make_disk(t.dir)
        super().__init__(t, **how)

    def guest(self, name, serial=None, more=()):
        """serial: the name of its file, when this is not the first one on the host."""
        serial = serial or name
        return [
            *(self.qemu[name], "-m", "16", "-nodefaults", "-display", "none", "-bios", self.image),
            *(("-machine", f"{self.machine},accel=tcg") if self.machine else ("-accel", "tcg")),
            *("-serial", f"file:{self.t.dir / serial}.serial"),
            *("-qmp", f"unix:{self.t.dir / serial}.qmp,server=on,wait=off"),
            *devices(self.disk, net=self.net, netdev=self.netdev),
            *more,
        ]

    def launch(self, *options, **how):
        """Both at once; the two Launched, the source first, with a NegotiatorSerial as .serial."""
        found = super().launch(*options, **how)
        for launched in found:
            launched.serial = NegotiatorSerial(launched.serial.path)
        return found

    def move(self, source, destination, *options):
        """Moves the guest with the program; its Boot at the destination, and what `migrate` said."""
        done = source.host.run("migrate", VM, *options, timeout=60, check=0)
        source.process.expect_status(0, 15)
        boot = destination.serial.follow(*source.serial.earlier, source.serial).wait_here()
        return boot, done.stderr

    def start_again(self, name):
        """The host begins to wait once more for the guest, under the agreement that there is; (Process, words for --to)."""
        host = self.a if name == "a" else self.b
        kept = host.home / "state" / "agreements" / f"{VM}.json"
        where = f"{self.addresses[name]}:{self.port_back}"
        words = ("--vm", VM, "--agreement", kept, "--incoming", "--listen", where, "--")
        return host.start(*words, *self.guest(name, f"{name}2"), name=f"{name}-again"), ("--to", where)

    def wait_again(self, name):
        """The same until its QEMU waits; (Launched, words for --to)."""
        process, words = self.start_again(name)
        launched = Launched(self.a if name == "a" else self.b, process, name)
        launched.serial = NegotiatorSerial(launched.serial.path)
        return launched, words


def reset(launched, number):
    """The guest begins for the `number`-th time, by QMP system_reset; its Boot."""
    launched.qmp.command("system_reset")
    return launched.serial.wait_boot(number)


def there_reset_and_back(pair, *options):
    """The guest is launched on a, moved to b, reset there, moved back and reset again: it accepts and is offered the same
    at every stop. Returns (Launched of a, of b, of a again, {kind: accepted features})."""
    a, b = pair.launch(*options)
    first = a.serial.wait_boot().accepted()
    check_equal(sorted(first), ["blk", "net", "rng"], "devices of the guest")

    def same(boot, where):
        check_equal(boot.accepted(), first, f"features that the guest accepted, {where}")
        check_equal(boot.changes, [], f"devices that became others under the running guest, {where}")

    same(pair.move(a, b)[0], "on b")
    same(reset(b, 2), "after a reset on b")
    back, words = pair.wait_again("a")
    same(pair.move(b, back, *words)[0], "back on a")
    same(reset(back, 3), "after a reset on a")
    return a, b, back, first
