# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtio devices with the host's kernel behind them, through the program: the guest is offered the same on every host."""
import json
from pathlib import Path

from lib.device_pair import DevicePair, reset, there_reset_and_back
from lib.harness import check, check_equal, check_in, test
from lib.pair import VM, end_of_word
from lib.taps import TAP, tun_without
from lib.unprivileged import UserPair
from lib.wait import Skip
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


@test(timeout=90)
def from_the_side_that_listens(t):
    """the guest starts on b, which listens, with 10.0, and moves to a, 7.2, whose kernel lacks USO: the same"""
    pair = DevicePair(t, reverse=True, qemu_b=t.second_qemu_path, without_a="uso")
    a, b = pair.launch()
    first = b.serial.wait_boot().accepted()
    boot, _ = pair.move(b, a)
    check_equal((boot.accepted(), boot.changes), (first, []), "the guest's features, and changes, on a")
    check_equal(reset(a, 2).accepted(), first, "after a reset on a")


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


# A kernel that lacks something

USO_PROPERTIES = ("guest_uso4", "guest_uso6", "host_uso")
USO_LOSS = "guest_uso4, guest_uso6, host_uso of virtio-net: {host}'s kernel lacks uso of tap devices"


def net_properties(argv):
    """The properties of the virtio-net in QEMU's arguments, as words."""
    return end_of_word("-device", argv, "virtio-net-pci").split(",")[1:]


def check_uso_off(launched, known):
    """`=off` for all three is written where QEMU knows them, and nothing of them where it does not; once each."""
    words = [word for word in net_properties(launched.argv) if "uso" in word]
    check_equal(sorted(words), [f"{name}=off" for name in USO_PROPERTIES] if known else [], f"of {launched.argv}")


def uso_is_off(t, first, second, lacking, machine="q35"):
    """The whole way between two QEMUs, of which one's kernel lacks USO; the two launches' standard error."""
    paths = [t.qemu_path if word == "own" else t.second_qemu_path for word in (first, second)]
    pair = DevicePair(t, machine=machine, qemu_a=paths[0], qemu_b=paths[1], **{f"without_{lacking}": "uso"})
    a, b, again, accepted = there_reset_and_back(pair)
    for launched, word in ((a, first), (b, second), (again, first)):
        check_uso_off(launched, word == "other")
    check_equal(accepted["net"] & USO, 0, "USO in the guest")
    return a.process.stderr(), b.process.stderr()


@test(timeout=120)
def uso_that_the_destination_lacks(t):
    """10.0 on both, b's kernel lacks USO: off on both, said why on both, and so the guest can come back after a reset"""
    for said in uso_is_off(t, "other", "other", "b"):
        check_in(USO_LOSS.format(host="b"), said, "what the launch says")


@test(timeout=120)
def uso_that_the_source_lacks(t):
    """the same with a's kernel, and -machine pc"""
    for said in uso_is_off(t, "other", "other", "a", machine="pc"):
        check_in(USO_LOSS.format(host="a"), said, "what the launch says")


@test(timeout=120)
def uso_between_versions(t):
    """7.2 -> 10.0, whose kernel lacks USO: written for 10.0 only, and nobody's loss: that machine type has none anyway"""
    for said in uso_is_off(t, "own", "other", "b"):
        check("uso" not in said, f"something is said of USO: {said}")


@test(timeout=120)
def uso_between_versions_the_other_way(t):
    """10.0 on a kernel that lacks USO -> 7.2: the same"""
    for said in uso_is_off(t, "other", "own", "a"):
        check("uso" not in said, f"something is said of USO: {said}")


@test(timeout=60)
def ufo_is_refused(t):
    """b's kernel lacks UFO, which QEMU tells in the stream whatever is off: 10 on both before launch, and what helps"""
    pair = DevicePair(t, qemu_b=t.second_qemu_path, without_b="ufo")
    words = "a's kernel has ufo of tap devices and b's has not: QEMU lets no guest go from a to b"
    for process in pair.dry_run("--timeout", "6"):
        process.expect_status(10)
        check_in(words, process.stderr(), f"what {process.name} says")
        check_in("vnet_hdr=off on -netdev tap", process.stderr(), "what helps")


@test(timeout=90)
def ufo_without_headers(t):
    """the same with vnet_hdr=off on both: launched, moved there and back"""
    pair = DevicePair(t, qemu_b=t.second_qemu_path, without_b="ufo", netdev=f"tap,ifname={TAP},script=no,downscript=no,vnet_hdr=off")
    there_reset_and_back(pair)


@test(timeout=60)
def uso_in_a_dry_run(t):
    """--dry-run --json: which property is off, on whose account; the arguments of each side have it"""
    pair = DevicePair(t, qemu_a=t.second_qemu_path, qemu_b=t.second_qemu_path, without_b="uso")
    for process in pair.dry_run("--json"):
        process.expect_status(0)
        document = json.loads(process.stdout())
        found = {(loss["class"], loss["property"]): loss["missing_on"] for loss in document["devices"]["dropped"]}
        missing = [{"host": "b", "why": "kernel"}]
        check_equal(found, {("virtio-net", name): missing for name in USO_PROPERTIES}, f"dropped in {process.name}")
        check_equal(document["devices"]["unknown"], [], f"unknown in {process.name}")
        words = [word for word in net_properties(document["argv"]) if "uso" in word]
        check_equal(sorted(words), [f"{name}=off" for name in USO_PROPERTIES], f"argv of {process.name}")


@test(timeout=60)
def uso_in_a_baseline(t):
    """baseline of stored profiles: the same, for people and as JSON"""
    qemu = t.second_qemu_path
    pair = DevicePair(t, qemu_a=qemu, qemu_b=qemu, without_b="uso")
    paths = []
    for host in (pair.a, pair.b):
        paths.append(t.dir / f"{host.name}.profile")
        host.run("profile", "--qemu", qemu, "--accel", "tcg", "--machine", "q35", "-o", paths[-1], check=0)
    words = ("baseline", "--qemu", qemu, "--machine", "q35", *paths)
    document = json.loads(pair.a.run(*words, "--json", check=0).stdout)
    dropped = [loss for loss in document["devices"]["dropped"] if loss["property"] in USO_PROPERTIES]
    missing = [{"host": "b", "why": "kernel"}]
    wanted = [{"class": "virtio-net", "property": name, "missing_on": missing} for name in USO_PROPERTIES]
    check_equal(dropped, wanted, "dropped")
    check_in(USO_LOSS.format(host="b"), pair.a.run(*words, check=0).stdout, "what it draws")


@test(timeout=60)
def nothing_is_lost_between_equal_hosts(t):
    """10.0 on equal kernels: USO stays on, and nobody says a word about devices"""
    pair = DevicePair(t, qemu_a=t.second_qemu_path, qemu_b=t.second_qemu_path)
    a, b = pair.launch()
    check_equal(a.serial.wait_boot().accepted()["net"] & USO, USO, "USO in the guest")
    for launched in (a, b):
        check_equal([word for word in net_properties(launched.argv) if "=o" in word], [], "switched off")
        check_equal([line for line in launched.process.stderr().splitlines() if "virtio" in line or "tap" in line], [], "said")


# Without the rights to ask


@test(timeout=90)
def without_root(t):
    """nobody may ask the kernel about taps: that is said once, the launch goes on, and the guest moves"""
    pair = UserPair(t, qemu_a=t.second_qemu_path, qemu_b=t.second_qemu_path)
    a, b = pair.launch()
    first = a.serial.wait_boot().accepted()
    for launched in (a, b):
        said = [line for line in launched.process.stderr().splitlines() if "tap devices" in line]
        check_equal(len(said), 1, f"lines about tap devices of {launched.process.stderr()}")
        check_in("tap devices of a, b: ", said[0], "what is said")
    check_equal(pair.move(a, b)[0].accepted(), first, "features of the guest")


def must_be_known(t, name):
    """[policy] devices = known on host `name`; the line of the one that connects."""
    pair = UserPair(t, qemu_a=t.second_qemu_path, qemu_b=t.second_qemu_path)
    pair.config(pair.a if name == "a" else pair.b, more="[policy]\ndevices = known\n")
    pair.listen()
    line = pair.refused(pair.connect(), 10, f"site policy of {name}")
    check_in("[policy] devices = known", line, "what it says")
    for host in (pair.a, pair.b):
        check(not (host.home / "state" / "agreements" / f"{VM}.json").exists(), f"{host.name} has an agreement")


@test(timeout=60)
def without_root_where_devices_must_be_known(t):
    """[policy] devices = known on the host that connects: 10, what is not known is named, nothing is agreed"""
    must_be_known(t, "a")


@test(timeout=60)
def without_root_where_the_other_must_know(t):
    """the same policy on the host that listens"""
    must_be_known(t, "b")


@test(timeout=60)
def uso_that_went_away(t):
    """a's kernel had USO when it agreed, and has it no longer when the guest is to come back: 12, named, before anything
    is started"""
    pair = DevicePair(t, qemu_a=t.second_qemu_path, qemu_b=t.second_qemu_path)
    a, b = pair.launch()
    a.serial.wait_boot()
    pair.move(a, b)
    pair.a.env = tun_without(t, "uso")
    process, _ = pair.start_again("a")
    process.expect_status(12, 30)
    check_in(USO_LOSS.format(host="a"), process.stderr(), "what a says")
    check_in("--renegotiate", process.stderr(), "what a says")
    check_equal(b.status(), "running", "the guest on b")


@test(timeout=90)
def a_backend_that_is_not_there(t):
    """vhost=on without /dev/vhost-net: said once on both; with [policy] devices = known: 10"""
    if Path("/dev/vhost-net").exists():
        raise Skip("this host has /dev/vhost-net")
    words = "vhost-net of a, b: there is no such thing: QEMU goes on without it, or does not start"
    net = f"tap,ifname={TAP},script=no,downscript=no,vhost=on"
    pair = DevicePair(t, netdev=net)
    for process in pair.dry_run():
        process.expect_status(0)
        check_equal(process.stderr().count(words), 1, f"what {process.name} says: {process.stderr()}")
    pair.config(pair.b, more="[policy]\ndevices = known\n")
    listener, connector = pair.listen("--timeout", "8"), pair.connect("--timeout", "30")
    listener.expect_status(10, 40)
    check_in(words, listener.stderr(), "what b says")
    connector.expect_status(10, 40)
