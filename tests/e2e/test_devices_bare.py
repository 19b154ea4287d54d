# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts about bare QEMU and virtio devices, without the program: a device's features come from the host's kernel and from
QEMU's version, and change under a guest that is moved."""
import re

from lib.harness import check, check_equal, check_in, migrate_bare, test, wait_until
from lib.negotiator import NegotiatorSerial, build_negotiator
from lib.taps import Namespace, devices, make_disk, tun_without

USO = 7 << 54  # VIRTIO_NET_F_GUEST_USO4, GUEST_USO6, HOST_USO (linux/virtio_net.h)
DISCARD = 1 << 13  # VIRTIO_BLK_F_DISCARD (linux/virtio_blk.h)
UFO = 1 << 10 | 1 << 14  # VIRTIO_NET_F_GUEST_UFO, HOST_UFO
REFUSAL = r"Features 0x([0-9a-f]+) unsupported\. Allowed features: 0x([0-9a-f]+)"


def start(t, name, binary, machine, without="", net="", blk="", more=(), **options):
    """A QEMU with the virtio guest and three devices, its tap in a namespace of its own."""
    return t.qemu(
        *(name, *devices(make_disk(t.dir), net=net, blk=blk), *more),
        binary=binary,
        machine=machine,
        image=build_negotiator(t.dir),
        serial=NegotiatorSerial,
        enter=Namespace(t, name).enter,
        env=tun_without(t, without),
        **options,
    )


def move(t, source, destination):
    """Both sides say completed, and the guest runs on at the destination; its Boot there."""
    migrate_bare(source, destination, f"unix:{t.dir}/to-{destination.name}")
    wait_until(lambda: destination.status() == "running", 5, "running destination")
    return destination.serial.follow(*source.serial.earlier, source.serial).wait_here()


def move_fails(t, source, destination, return_path=False):
    """The destination does not take the guest and ends; what it said. Returns with the source's migration over."""
    if return_path:
        for end in (source, destination):
            end.qmp.command("migrate-set-capabilities", capabilities=[{"capability": "return-path", "state": True}])
    uri = f"unix:{t.dir}/to-{destination.name}"
    destination.qmp.command("migrate-incoming", uri=uri)
    source.qmp.command("migrate", uri=uri)
    wait_until(lambda: source.migration() in ("completed", "failed"), 30, "end of the migration at the source")
    check_equal(destination.process.wait(15), 1, "exit status of the destination")
    return destination.process.stderr()


@test(timeout=90)
def uso_comes_at_a_reset_and_bars_the_way_back(t):
    """10.0, pc-q35-10.0, a kernel without USO -> one with: quiet; after a reset the guest cannot go back, and is mostly lost"""
    binary, machine, bits = t.second_qemu_path, "pc-q35-10.0", USO
    source = start(t, "source", binary, machine, without="uso")
    first = source.serial.wait_boot().accepted()
    check_equal(sorted(first), ["blk", "net", "rng"], "devices of the guest")
    check_equal(first["net"] & bits, 0, "bits that the first host lacks")

    there = start(t, "there", binary, machine, incoming=True)
    boot = move(t, source, there)
    check_equal(boot.accepted(), first, "accepted features")
    check_equal(boot.offered_now()["net"], first["net"] | bits, "what the running guest is offered now")
    check_equal(len(boot.changes), 1, "devices that became another one under the running guest")
    check_equal(there.process.stderr(), "", "what the destination said about it")

    there.qmp.command("system_reset")
    again = there.serial.wait_boot(2).accepted()
    check_equal(again, {**first, "net": first["net"] | bits}, "what the guest accepts after a reset")

    back = start(t, "back", binary, machine, without="uso", incoming=True)
    said = move_fails(t, there, back)
    found = re.search(REFUSAL, said)
    check(found, f"the way back failed for another reason: {said}")
    wanted, allowed = (int(number, 16) for number in found.groups())
    check_equal(wanted & ~allowed & bits, bits, "bits that bar the way back")
    # Lost, but for the rare case that the source has not yet written all when it hears of it.
    ends = (("completed", "postmigrate"), ("failed", "running"))
    check_in((there.migration(), there.status()), ends, "the guest that went back")


def ufo_that_is_off(t, binary):
    """host_ufo=off,guest_ufo=off on both, with a kernel that has UFO at the source only."""
    off = ",host_ufo=off,guest_ufo=off"
    source = start(t, "source", binary, "pc-q35-7.2", net=off)
    check_equal(source.serial.wait_boot().accepted()["net"] & UFO, 0, "UFO in the guest")
    poorer = start(t, "poorer", binary, "pc-q35-7.2", net=off, without="ufo", incoming=True)
    check_in("virtio-net: saved image requires TUN_F_UFO support", move_fails(t, source, poorer), "what was said")


@test(timeout=60)
def ufo_of_the_kernel_counts_though_it_is_off(t):
    """7.2: no property hides UFO of the source's kernel from the stream: a kernel without it refuses the guest"""
    ufo_that_is_off(t, t.qemu_path)


@test(timeout=60)
def ufo_of_the_kernel_counts_though_it_is_off_in_the_newer_qemu(t):
    """the same in 10.0"""
    ufo_that_is_off(t, t.second_qemu_path)


@test(timeout=90)
def fewer_features_fail_and_the_source_runs_on(t):
    """with return-path, a destination that lacks what the guest accepted is noticed by the source, which runs on"""
    source = start(t, "source", t.second_qemu_path, "pc-q35-10.0")
    source.serial.wait_boot()
    poorer = start(t, "poorer", t.second_qemu_path, "pc-q35-10.0", without="uso", incoming=True)
    check(re.search(REFUSAL, move_fails(t, source, poorer, return_path=True)), "another reason")
    wait_until(lambda: source.status() == "running", 10, "guest that runs on at the source")
    source.serial.wait_here()


def alias(t, machine, binary, other):
    """The same alias on two versions."""
    source = start(t, "source", binary, machine)
    source.serial.wait_boot()
    destination = start(t, "destination", other, machine, incoming=True)
    check_in("Machine type received is", move_fails(t, source, destination), "what the destination said")


@test(timeout=60)
def q35_is_another_machine_in_the_newer_qemu(t):
    """-machine q35 on both, 7.2 -> 10.0: the destination refuses and ends"""
    alias(t, "q35", t.qemu_path, t.second_qemu_path)


@test(timeout=60)
def pc_is_another_machine_in_the_older_qemu(t):
    """-machine pc on both, 10.0 -> 7.2: the destination refuses and ends"""
    alias(t, "pc", t.second_qemu_path, t.qemu_path)


@test(timeout=60)
def a_property_changes_the_device_silently(t):
    """discard=off of virtio-blk at the source only, 7.2 -> 10.0: quiet; the running guest is offered more than it was, and
    accepts it after a reset"""
    source = start(t, "source", t.qemu_path, "pc-q35-7.2", blk=",discard=off")
    first = source.serial.wait_boot().accepted()
    there = start(t, "there", t.second_qemu_path, "pc-q35-7.2", incoming=True)
    boot = move(t, source, there)
    check_equal((boot.accepted(), len(boot.changes)), (first, 1), "what the guest accepted, and changes that it sees")
    check_equal(boot.offered_now(), {**first, "blk": first["blk"] | DISCARD}, "what the running guest is offered now")
    check_equal(there.process.stderr(), "", "what the destination said about it")
    there.qmp.command("system_reset")
    check_equal(there.serial.wait_boot(2).accepted(), boot.offered_now(), "what the guest accepts after a reset")
