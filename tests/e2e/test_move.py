# SPDX-License-Identifier: GPL-3.0-or-later
"""Moving a guest: the options of `migrate`, what it prints, and what it refuses."""
import json

from lib.harness import check, check_equal, check_in, test, wait_until
from lib.pair import VM, Pair
from test_pair import migrate


def moved(t, *options, qemu_a=None, qemu_b=None, memory=64):
    """A pair whose guest moves with these options; (pair, Launched of a, Launched of b)."""
    pair = Pair(t, qemu_a=qemu_a, qemu_b=qemu_b)
    a, b = pair.launch(guest_a=pair.guest("a", memory=memory), guest_b=pair.guest("b", memory=memory))
    migrate(a, b, *options, without_syscall=(qemu_a or t.qemu_path) != (qemu_b or t.qemu_path))
    a.process.expect_status(0, 10)
    check_equal(pair.record(pair.a)["place"], "moved", "record of the source")
    return pair, a, b


@test(timeout=90)
def multifd(t):
    """--multifd 4: five channels through the two hosts' own connections"""
    moved(t, "--multifd", "4")


@test(timeout=90)
def multifd_to_the_other_qemu(t):
    """the same to the other QEMU version"""
    moved(t, "--multifd", "2", qemu_b=t.second_qemu_path)


@test(timeout=90)
def multifd_from_the_other_qemu(t):
    """and back"""
    moved(t, "--multifd", "2", qemu_a=t.second_qemu_path)


@test(timeout=90)
def direct(t):
    """--direct: the QEMUs speak to each other"""
    moved(t, "--direct")


@test(timeout=90)
def direct_with_multifd_to_the_other_qemu(t):
    """--direct --multifd 2 to the other QEMU version"""
    moved(t, "--direct", "--multifd", "2", qemu_b=t.second_qemu_path)


@test(timeout=90)
def auto_converge(t):
    """--auto-converge, --downtime and --bandwidth together"""
    moved(t, "--auto-converge", "--downtime", "100", "--bandwidth", "200M")


def postcopy(t, qemu_a, qemu_b):
    """The guest of 256 MiB goes by postcopy."""
    _, _, b = moved(t, "--postcopy", "--bandwidth", "16M", qemu_a=qemu_a, qemu_b=qemu_b, memory=256)
    check_equal(b.status(), "running", "state of the destination")


@test(timeout=120)
def postcopy_own_to_own(t):
    """--postcopy between two of this QEMU"""
    postcopy(t, t.qemu_path, t.qemu_path)


@test(timeout=120)
def postcopy_own_to_other(t):
    """--postcopy to the other QEMU version"""
    postcopy(t, t.qemu_path, t.second_qemu_path)


@test(timeout=120)
def postcopy_other_to_own(t):
    """--postcopy from the other QEMU version"""
    postcopy(t, t.second_qemu_path, t.qemu_path)


@test(timeout=120)
def postcopy_other_to_other(t):
    """--postcopy between two of the other QEMU version"""
    postcopy(t, t.second_qemu_path, t.second_qemu_path)


@test(timeout=90)
def paused_guest(t):
    """a guest that is paused moves, and is paused there; cont lets it go on"""
    pair = Pair(t)
    a, b = pair.launch()
    a.serial.wait_lines(3)
    a.qmp.command("stop")
    pair.a.run("migrate", VM, check=0)
    a.process.expect_status(0, 10)
    wait_until(lambda: pair.record(pair.b)["place"] == "here", 5, "record of the destination")
    check_equal((b.status(), b.serial.lines()), ("paused", []), "the guest at the destination")
    b.qmp.command("cont")
    b.serial.wait_lines(3)
    b.serial.check_continues(a.serial)


@test(timeout=90)
def json_lines(t):
    """--json: a document a second, and one at the end"""
    pair = Pair(t)
    a, b = pair.launch(guest_a=pair.guest("a", memory=64), guest_b=pair.guest("b", memory=64))
    a.serial.wait_lines(3)
    result = pair.a.run("migrate", VM, "--json", check=0)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    check(len(lines) >= 2, f"only {lines}")
    for line in lines[:-1]:
        check(line["status"] and 0 <= line["percent"] <= 100 and line["total"] > 0, f"progress {line}")
    check_equal({key: lines[-1][key] for key in ("status", "vm", "to")}, {"status": "completed", "vm": VM, "to": "b"}, "end")
    check(lines[-1]["transferred"] > 0 and 0 < lines[-1]["downtime_ms"] < 5000, f"end {lines[-1]}")
    wait_until(lambda: b.status() == "running", 5, "running destination")


@test(timeout=90)
def another_destination(t):
    """--to somebody who is not trusted: 77; to nobody's address: 13; the guest runs on, and moves without"""
    pair = Pair(t)
    a, b = pair.launch()
    refused = pair.a.run("migrate", VM, "--to", "c", check=77)
    check_in("trust add", refused.stderr, "what it says")
    refused = pair.a.run("migrate", VM, "--to", "127.0.0.1:1", timeout=30, check=13)
    check_in("runs on here", refused.stderr, "what it says")
    check_equal((pair.record(pair.a)["place"], pair.record(pair.a)["peer"]), ("here", "b"), "record")
    migrate(a, b)


@test(timeout=90)
def machines_that_differ(t):
    """devices and memory that differ, though that was accepted by name when they were launched: 13 before anything moves,
    all of it is said, the guest runs on, and so does b"""
    pair = Pair(t)
    a, b = pair.launch(
        *("--accept-difference", "-device virtio-rng-pci", "--accept-difference", "-m"),
        guest_a=[*pair.guest("a", memory=32), "-device", "virtio-rng-pci"], guest_b=pair.guest("b", memory=64)
    )
    a.serial.wait_lines(2)
    refused = pair.a.run("migrate", VM, check=13)
    check_in("virtio-rng-pci", refused.stderr, "what it says")
    check_in("memory", refused.stderr, "what it says")
    check_in("runs on here", refused.stderr.splitlines()[-1], "its last line")
    check_equal((a.status(), b.status()), ("running", "inmigrate"), "states")
    check_equal(pair.record(pair.a)["place"], "here", "record")


@test(timeout=90)
def nothing_to_decide(t):
    """--resume-on when nothing is under way: refused on both hosts; with other options: 64"""
    pair = Pair(t)
    a, b = pair.launch()
    for words in (("--resume-on", "there"), ("--resume-on", "source", "--postcopy"), ("--multifd", "0")):
        pair.a.run("migrate", VM, *words, check=64)
    pair.a.run("migrate", VM, "--resume-on", "source", check=64)
    refused = pair.b.run("migrate", VM, "--resume-on", "destination", check=14)
    check_in("has not come here", refused.stderr, "what it says")
    check_equal((a.status(), b.status()), ("running", "inmigrate"), "states")
    refused = pair.b.run("migrate", VM, check=64)
    check_in("run 'migrate web1' on a", refused.stderr, "what it says")
    migrate(a, b)
