# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtio devices with the host's kernel behind them, through the program: the guest is offered the same on every host."""
import json

from lib.device_pair import DevicePair, reset, there_reset_and_back
from lib.harness import check_equal, check_in, test
from lib.pair import VM
from lib.taps import tun_without
from test_devices_bare import USO, start
from test_migration import helper, monitor


def register(name, machine, first, second):
    """The whole way for a machine and QEMU versions, as words: own or other."""

    def function(t):
        paths = [t.qemu_path if word == "own" else t.second_qemu_path for word in (first, second)]
        there_reset_and_back(DevicePair(t, machine=machine, qemu_a=paths[0], qemu_b=paths[1]))

    function.__name__ = f"test_{name}_{first}_to_{second}_and_back"
    function.__module__ = __name__
    function.__doc__ = (
        f"{name}, {first} QEMU -> {second}, a reset there, back, a reset: the guest's virtio devices stay the same"
    )
    test(timeout=120)(function)


for a_machine in ("q35", "pc", None):
    for versions in (("own", "other"), ("other", "own")):
        register(a_machine or "no_machine", a_machine, *versions)


# The pre-flight

USO_NAMES = "VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_HOST_USO"
UFO_NAMES = "VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_HOST_UFO"
AFTERWARDS = ": a guest that restarts on {there} uses that, and can then not come back to {here}"


def preflight_of_a_kernel(t, binary, machine, lacks, names):
    """Two waiting QEMUs, of which the second one's kernel lacks something, compared in both directions."""
    start(t, "rich", binary, machine, paused=True, more=monitor("rich"))
    start(t, "poor", binary, machine, without=lacks, incoming=True, more=monitor("poor"))
    net = f"has a virtio-net-pci at 00:01.0 (n0) with {names}"
    for ends, wanted in (
        (("rich", "poor"), {"findings": [f"src {net}, dst without"], "warnings": []}),
        (("poor", "rich"), {"findings": [], "warnings": [f"dst {net}, src without{AFTERWARDS.format(there='dst', here='src')}"]}),
    ):
        said = t.run(helper(t), "compare", *(f"{name}.command" for name in ends), check=0).stdout
        check_equal(json.loads(said), wanted, f"comparison of {ends}")


@test(timeout=60)
def preflight_names_ufo(t):
    """7.2: UFO that only one kernel has is a finding when the destination lacks it, else a warning"""
    preflight_of_a_kernel(t, t.qemu_path, "pc-q35-7.2", "ufo", UFO_NAMES)


@test(timeout=60)
def preflight_names_uso(t):
    """10.0: the same with USO"""
    preflight_of_a_kernel(t, t.second_qemu_path, "pc-q35-10.0", "uso", USO_NAMES)


def hidden_from_the_program(t, qemu, lacks):
    """A script that starts QEMU on another kernel than the one that the program has looked at."""
    environment = tun_without(t, lacks)
    script = t.dir / "qemu-elsewhere"
    lines = ["#!/bin/sh", *(f"export {name}='{value}'" for name, value in environment.items()), f'exec {qemu} "$@"']
    script.write_text("\n".join(lines) + "\n")
    script.chmod(0o755)
    return script


@test(timeout=90)
def preflight_refuses_a_poorer_destination(t):
    """what b's QEMU cannot offer though b's profile had it: 13 before anything moves, named; the guest runs on"""
    qemu = t.second_qemu_path
    pair = DevicePair(t, qemu_a=qemu, qemu_b=hidden_from_the_program(t, qemu, "uso"))
    a, b = pair.launch()
    a.serial.wait_boot()
    refused = pair.a.run("migrate", VM, check=13).stderr
    check_in(f"a has a virtio-net-pci at 00:01.0 (n0) with {USO_NAMES}, b without", refused, "what migrate says")
    check_equal((a.status(), b.status(), b.serial.text()), ("running", "inmigrate", ""), "the two QEMUs")
    check_equal(a.serial.wait_here().changes, [], "changes of the guest's devices")


@test(timeout=90)
def preflight_warns_of_a_richer_destination(t):
    """what only b's QEMU offers though a's profile had it: the guest moves, and what a restart there means is said"""
    qemu = t.second_qemu_path
    pair = DevicePair(t, qemu_b=qemu, qemu_a=hidden_from_the_program(t, qemu, "uso"))
    a, b = pair.launch()
    first = a.serial.wait_boot().accepted()
    boot, said = pair.move(a, b)
    wanted = f"b has a virtio-net-pci at 00:01.0 (n0) with {USO_NAMES}, a without{AFTERWARDS.format(there='b', here='a')}"
    check_in(f"warning: {wanted}", said, "what migrate says")
    check_equal((boot.accepted(), len(boot.changes)), (first, 1), "the guest's features, and changes that it sees")
    check_equal(reset(b, 2).accepted(), {**first, "net": first["net"] | USO}, "after a restart there")
