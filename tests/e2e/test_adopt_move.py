# SPDX-License-Identifier: GPL-3.0-or-later
"""adopt, and then: a guest that plain QEMU started is received by hosts that were never asked, and moved."""
from lib.harness import MACHINE, QMP, Serial, check, check_equal, check_in, test, wait_until
from lib.pair import VM
from test_receive import Site


class Adopted:
    """A guest that plain QEMU runs on host a of a Site, adopted there."""

    def __init__(self, site, *words, qemu=(), **how):
        t = site.t
        self.socket = t.dir / "plain.sock"
        argv = [*site.guest("a", **how), *words, "-qmp", f"unix:{self.socket},server=on,wait=off"]
        self.process = t.start(*argv, name="plain")
        self.serial = Serial(t.dir / "a.serial")
        with QMP(t.dir / "a.qmp", alive=self.process.alive):
            pass
        self.serial.wait_lines(3)
        site["a"].run("adopt", VM, "--qmp", self.socket, *qemu, check=0)
        self.digest = site.digest("a")


def around(t, words=(), qemu=None, adopt=(), more_guest=(), **how):
    """a → b → c → a."""
    site = Site(t, "abc", qemu=qemu)
    guest = Adopted(site, *words, qemu=adopt, **how)
    table = site.table("a")
    check_in("no host waits", site["a"].run("migrate", VM, check=64).stderr, "migrate before anybody waits")
    b = site.receive("b", "a", guest=[*site.guest("b", **how), *more_guest])
    check_equal(site.record("a")["peer"], "b", "the peer in a's record")
    site.migrate("a")
    b.serial.wait_more()
    guest.process.wait()
    c = site.receive("c", "b", guest=[*site.guest("c", **how), *more_guest])
    site.migrate("b")
    c.serial.wait_more()
    back = site.receive("a", "c", guest=[*site.guest("a", serial="a2", **how), *more_guest])
    site.migrate("c")
    back.serial.wait_more()
    back.serial.check_continues(guest.serial, b.serial, c.serial)
    site["a"].run("verify", VM, check=0)
    for name in "abc":
        check_equal(site.digest(name), guest.digest, f"agreement on {name}")
        check_equal(site.table(name), table, f"table on {name}")
        site[name].run("agreement", "check", VM, check=0)


@test(timeout=120)
def goes_around(t):
    """-cpu max, three hosts, two of them never asked"""
    around(t, cpu="max")


@test(timeout=120)
def goes_around_versions(t):
    """a model, two vCPUs; QEMU 7.2 on a and c, 10.0 on b"""
    words = ("-smp", "2")
    around(t, words, qemu={"b": t.second_qemu_path}, more_guest=words, cpu="Westmere", machine=MACHINE)


@test(timeout=120)
def goes_around_newer(t):
    """the same from 10.0, by its default CPU"""
    second = t.second_qemu_path
    around(t, qemu={"a": second}, adopt=("--qemu", second), machine=MACHINE)


@test(timeout=90)
def paused(t):
    """a guest that was paused when it was adopted is paused where it comes to"""
    site = Site(t, "ab")
    Adopted(site, cpu="max")
    with QMP(t.dir / "a.qmp") as monitor:
        monitor.command("stop")
    b = site.receive("b", "a", guest=site.guest("b", cpu="max"))
    site.migrate("a")
    wait_until(lambda: b.status() == "paused", 10, f"a paused guest: {b.status()}")
    check_equal(site.record("b")["place"], "here", "place on b")


@test(timeout=90)
def launched(t):
    """a VM that was launched has its agreement; with --renegotiate it becomes this host's alone"""
    site = Site(t, "ab")
    socket = t.dir / "more.sock"
    a = site.launch("a", "b", guest=[*site.guest("a", cpu="max"), "-qmp", f"unix:{socket},server=on,wait=off"])
    digest = site.digest("a")
    check_in("has its agreement already", site["a"].run("adopt", VM, "--qmp", socket, check=14).stderr, "adopt")
    check_in("lives on a", site["b"].run("adopt", VM, "--qmp", socket, check=14).stderr, "adopt on b")
    check_equal(site.digest("a"), digest, "agreement")
    site["a"].run("adopt", VM, "--qmp", socket, "--renegotiate", check=0)
    check(site.digest("a") != digest, "the agreement is the old one")
    site["a"].run("verify", VM, check=0)
    check_equal(site.digest("b"), digest, "agreement on b")
    a.serial.wait_more()


@test(timeout=90)
def cannot_take(t):
    """hosts that cannot take it say which feature they lack: by policy, by their QEMU"""
    site = Site(t, "abc", more={"b": "[policy]\ndeny = smap\n"}, qemu={"c": t.second_qemu_path})
    guest = Adopted(site, cpu="max", machine=MACHINE)
    site.refused("b", "a", 12, "smap", guest=site.guest("b", cpu="max", machine=MACHINE))
    site.refused("c", "a", 12, "pcommit", guest=site.guest("c", cpu="max", machine=MACHINE))
    more = [*site.guest("b", cpu="max", machine=MACHINE), "-smp", "2"]
    site.refused("b", "a", 10, "-smp", guest=more)
    check(guest.process.alive(), "the guest has ended")
    guest.serial.wait_more()


@test(timeout=90)
def busy_monitor(t):
    """somebody is at the socket that was given: migrate says so, and the guest runs on"""
    site = Site(t, "ab")
    guest = Adopted(site, cpu="max")
    b = site.receive("b", "a", guest=site.guest("b", cpu="max"))
    with QMP(guest.socket):
        done = site["a"].run("migrate", VM, timeout=30)
        check(done.returncode in (13, 69), f"status {done.returncode}: {done.stderr}")
        check_in("socket", done.stderr, "what migrate says")
        guest.serial.wait_more()
    site.migrate("a")
    b.serial.wait_more()
