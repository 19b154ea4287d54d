# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts about bare QEMU, without the program: what it is there to prevent, and that the tests' own tools see it."""
from lib.harness import (
    Failure,
    check,
    check_equal,
    migrate_bare,
    test,
    wait_until,
)

SMAP = 1 << 20  # leaf 7 EBX


def move(t, source, destination):
    """Moves the running guest and lets it run at the destination; both sides said completed."""
    source.serial.wait_lines(3)
    migrate_bare(source, destination, f"unix:{t.dir}/migration")
    check_equal(source.status(), "postmigrate", "state of the source")
    wait_until(lambda: destination.status() == "running", 5, "running destination")
    destination.serial.wait_lines(3)


@test()
def counter_counts(t):
    """the counter guest counts from 1 and shows the CPU that -cpu asks for"""
    guest = t.qemu("guest", cpu="max,smap=off,vendor=GenuineIntel")
    first, *rest = guest.serial.wait_lines(4)
    guest.serial.check_monotonic()
    check_equal(first.vendor, "GenuineIntel", "vendor")
    check(all(line.vendor is None for line in rest), "the vendor is shown again: the guest started again")
    check_equal(first.leaves["7"].ebx & SMAP, 0, "smap in the guest")
    check_equal(guest.features()["smap"], False, "smap in QEMU")
    check_equal(first.xcr0, 0x207, "XCR0")


@test()
def counter_sees_a_reset(t):
    """a guest that starts again fails the check of its count"""
    guest = t.qemu("guest")
    guest.serial.wait_lines(2)
    guest.qmp.command("system_reset")
    wait_until(lambda: [line.number for line in guest.serial.lines()].count(1) == 2, 10, "second first line")
    try:
        guest.serial.check_monotonic()
    except Failure:
        return
    raise Failure("check_monotonic takes a guest that started again for one that did not")


@test()
def counter_stops_with_the_guest(t):
    """a paused guest prints nothing, and goes on where it was"""
    guest = t.qemu("guest", paused=True)
    check_equal(guest.serial.lines(), [], "lines of a guest that never ran")
    guest.qmp.command("cont")
    guest.serial.wait_lines(2)
    guest.qmp.command("stop")
    before = guest.serial.text()
    check_equal(guest.status(), "paused", "state")
    guest.qmp.command("query-cpus-fast")
    check_equal(guest.serial.text(), before, "output of a paused guest")
    guest.qmp.command("cont")
    guest.serial.wait_more()
    guest.serial.check_monotonic()


@test()
def same_cpu_moves_whole(t):
    """between equal CPUs the guest goes on, its count unbroken and its CPU the same"""
    source = t.qemu("source", cpu="Westmere")
    destination = t.qemu("destination", cpu="Westmere", incoming=True)
    move(t, source, destination)
    destination.serial.check_continues(source.serial)
    check_equal(destination.serial.last().leaves, source.serial.last().leaves, "CPU after the move")


@test()
def kvm_moves_whole(t):
    """under KVM, too, the guest moves between equal CPUs with its count unbroken"""
    t.need_kvm()
    source = t.qemu("source", cpu="qemu64", accel="kvm")
    destination = t.qemu("destination", cpu="qemu64", accel="kvm", incoming=True)
    check(source.qmp.command("query-kvm")["enabled"], "KVM is not on")
    move(t, source, destination)
    destination.serial.check_continues(source.serial)
    check_equal(destination.serial.last().leaves, source.serial.last().leaves, "CPU after the move")


@test()
def smap_off_arrives_silently(t):
    """max -> max,smap=off,…: both sides say completed, and the running guest's CPU is another one"""
    source = t.qemu("source", cpu="max")
    destination = t.qemu("destination", cpu="max,smap=off,adx=off", incoming=True)
    move(t, source, destination)
    destination.serial.check_continues(source.serial)
    before, after = source.serial.last().leaves["7"], destination.serial.last().leaves["7"]
    check(before.ebx & SMAP, "the source's guest had no smap")
    check_equal(before.ebx & ~after.ebx, SMAP | 1 << 19, "bits of leaf 7 EBX that the guest lost")
    check_equal(destination.process.stderr(), "", "what the destination said about it")


@test()
def another_machine_fails(t):
    """a different machine type is noticed by QEMU, and the guest runs on at the source"""
    source = t.qemu("source", machine="pc-q35-7.2")
    destination = t.qemu("destination", machine="pc-q35-7.1", incoming=True)
    source.serial.wait_lines(2)
    destination.qmp.command("migrate-incoming", uri=f"unix:{t.dir}/migration")
    source.qmp.command("migrate-set-capabilities", capabilities=[{"capability": "return-path", "state": True}])
    source.qmp.command("migrate", uri=f"unix:{t.dir}/migration")
    wait_until(lambda: source.migration() == "failed", 10, "failed migration")
    wait_until(lambda: source.status() == "running", 10, "guest that runs on at the source")
    source.serial.wait_more()
    source.serial.check_monotonic()


def between_versions(t, binary, other):
    """max -> max between versions; returns the source's and the destination's last lines."""
    source = t.qemu("source", cpu="max", binary=binary)
    destination = t.qemu("destination", cpu="max", binary=other, incoming=True)
    check(source.qmp.version()[:2] != destination.qmp.version()[:2], "the two QEMUs have the same version")
    move(t, source, destination)
    destination.serial.check_continues(source.serial)
    return source.serial.last(), destination.serial.last()


@test()
def max_differs_in_the_newer_qemu(t):
    """max -> max from this QEMU to the second: completed, and the CPU is another one"""
    before, after = between_versions(t, t.qemu_path, t.second_qemu_path)
    check(before.leaves["7"] != after.leaves["7"], "leaf 7 is the same")


@test()
def max_differs_in_the_older_qemu(t):
    """max -> max from the second QEMU to this one: completed, and the CPU is another one"""
    before, after = between_versions(t, t.second_qemu_path, t.qemu_path)
    check(before.leaves["7"] != after.leaves["7"], "leaf 7 is the same")


@test()
def there_and_back(t):
    """to the second QEMU and back, with a CPU that both give alike: unbroken, and the same CPU at every stop"""
    cpu = "Westmere,x2apic=off"
    stops = [t.qemu("one", cpu=cpu)]
    stops.append(t.qemu("two", cpu=cpu, binary=t.second_qemu_path, incoming=True))
    move(t, stops[0], stops[1])
    stops.append(t.qemu("three", cpu=cpu, incoming=True))
    migrate_bare(stops[1], stops[2], f"unix:{t.dir}/migration-back")
    lines = stops[2].serial.wait_lines(3)
    stops[2].serial.check_continues(stops[0].serial, stops[1].serial)
    check_equal(lines[-1].leaves, stops[0].serial.last().leaves, "CPU after the round trip")


@test(alone=True)
def features_are_read_quickly(t):
    """all bool properties of a vCPU are read in well under a second"""
    guest = t.qemu("guest", cpu="qemu64", paused=True)
    features = guest.features()
    check(len(features) > 300, f"only {len(features)} properties")
    check(features["lm"] and not features["avx"], "qemu64 has lm and no avx")
