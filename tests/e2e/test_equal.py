# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest finds the same machine on both hosts, or nothing is launched."""
from pathlib import Path

from lib.harness import check, check_equal, check_in, test
from lib.pair import Pair, said


def refused(pair, *differences, a_more=(), b_more=(), options=(), memory_b=16):
    """The launch ends with 10 on both, each difference is named there with both hosts, and nobody is QEMU or has an
    agreement."""
    guest_a = [*pair.guest("a"), *a_more]
    guest_b = [*pair.guest("b", memory=memory_b), *b_more]
    listener = pair.listen("--timeout", "8", *options, guest=guest_b)
    connector = pair.connect("--timeout", "30", *options, guest=guest_a)
    connector.expect_status(10, 40)
    listener.expect_status(10, 40)
    source = "a" if not pair.roles["a"] else "b"
    for process in (connector, listener):
        text = process.stderr()
        check_in(f"a guest of {source} would not find the same machine on ", text, process.name)
        for difference in differences:
            check_in(difference, text, process.name)
        check_in("--accept-difference", text, "what to do")
    # Each on a line of its own, between what it is about and what to do.
    lines = [line for line in said(connector) if "qemu-migrate-launch: warning: " not in line]
    check(len(lines) >= 3, f"lines: {lines}")
    for difference in differences:
        check_equal(sum(difference in line for line in lines), 1, f"{difference}: {lines}")
    for host in (pair.a, pair.b):
        check(not list((host.home / "state").glob("agreements/*.json")), f"{host.name} has an agreement")
        check(not list((host.home / "state").glob("vms/*.json")), f"{host.name} has a record")


@test(timeout=90)
def every_difference_is_named(t):
    """memory, vCPUs, a device and where another one is: 10 on both, all at once, and nothing is launched"""
    refused(
        Pair(t),
        "-m is 16 on a and 32 on b",
        "-smp is 2 on a and 1 on b",
        "-device virtio-rng-pci is on b and not on a",
        "-device e1000: addr is 5 on a and 6 on b",
        a_more=["-smp", "2", "-nic", "none", "-device", "e1000,addr=5"],
        b_more=["-nic", "none", "-device", "virtio-rng-pci", "-device", "e1000,addr=6"],
        memory_b=32,
    )


@test(timeout=90)
def the_other_way_round(t):
    """the guest begins on the side that listens: the source still comes first"""
    refused(
        Pair(t, reverse=True),
        "-smp is 1 on b and 2 on a",
        "order: ",
        a_more=["-smp", "2", "-device", "virtio-rng-pci", "-device", "e1000"],
        b_more=["-device", "e1000", "-device", "virtio-rng-pci"],
    )


@test(timeout=90)
def firmware_by_content(t):
    """flash of the same name with another content: 10; the same content under another name and path goes on"""
    flash = {}
    for name, byte in (("a", b"\1"), ("b", b"\2"), ("c", b"\1")):
        folder = t.dir / f"firmware-{name}"
        folder.mkdir(exist_ok=True)
        flash[name] = folder / ("OVMF_CODE.fd" if name != "c" else "edk2.fd")
        flash[name].write_bytes(byte * (64 << 10))
    variables = {name: t.dir / f"{name}.vars" for name in "ab"}
    for name, path in variables.items():
        path.write_bytes(name.encode() * (64 << 10))

    def words(code, name):
        return [
            *("-fw_cfg", f"name=opt/test,file={code}"),
            *("-drive", f"if=none,id=v,format=raw,file={variables[name]}"),
            *("-fw_cfg", f"name=opt/secret,string=hush-{'x' if code == flash['b'] else 'y'}"),
        ]

    pair = Pair(t)
    refused(
        pair,
        "-fw_cfg opt/test: file is OVMF_CODE.fd (SHA-256 ",
        "-fw_cfg opt/secret: string is one on a and another on b",
        a_more=words(flash["a"], "a"),
        b_more=words(flash["b"], "b"),
    )
    for path in Path(t.dir).rglob("*launch*"):
        check(not path.is_file() or "hush" not in path.read_text(errors="replace"), f"a secret is in {path}")
    connector, listener = pair.dry_run(
        guest_a=[*pair.guest("a"), *words(flash["a"], "a")], guest_b=[*pair.guest("b"), *words(flash["c"], "b")]
    )
    for process in (connector, listener):
        process.expect_status(0, 5)
        check("would not find" not in process.stderr() and "not known" not in process.stderr(), process.stderr())


@test(timeout=90)
def a_configuration_file_counts(t):
    """-readconfig: what it says is compared as options; equal to what the other says on its command line"""
    pair = Pair(t)
    file = t.dir / "devices.cfg"
    file.write_text('[device "rng0"]\n  driver = "virtio-rng-pci"\n  addr = "7"\n')
    read, same = ["-readconfig", str(file)], ["-device", "virtio-rng-pci,id=rng0,addr=0x7"]
    refused(pair, "-device virtio-rng-pci,id=rng0 is on a and not on b", a_more=read)
    refused(pair, "-device virtio-rng-pci,id=rng0: addr is 7 on a and 8 on b", a_more=read,
            b_more=["-device", "virtio-rng-pci,id=rng0,addr=8"])
    connector, listener = pair.dry_run(guest_a=[*pair.guest("a"), *read], guest_b=[*pair.guest("b"), *same])
    for process in (connector, listener):
        process.expect_status(0, 5)


def disk(number, read_only):
    """A disk of a device, behind two nodes, of which the one that the device names decides."""
    return [
        *("-blockdev", f"driver=null-co,node-name=file{number},read-zeroes=on"),
        *("-blockdev", f"driver=raw,node-name=disk{number},file=file{number}{',read-only=on' if read_only else ''}"),
    ]


@test(timeout=90)
def what_is_behind_a_device(t):
    """a disk that can be written to on one only, and queues of a network: 10, named at the device that has them"""
    def words(read_only, readonly, queues):
        return [
            *("-device", "virtio-scsi-pci,id=s", *disk(0, read_only), "-device", "scsi-hd,drive=disk0"),
            *("-drive", f"if=none,id=d,file=null-co://,format=raw{readonly}", "-device", "virtio-blk-pci,drive=d"),
            *("-netdev", f"vhost-user,id=n,chardev=c,queues={queues}"),
            *("-device", "virtio-net-pci,netdev=n,mq=on,vectors=10"),
        ]

    refused(
        Pair(t),
        "-device scsi-hd: drive.read-only is off on a and on on b",
        "-device virtio-blk-pci: drive.read-only is on on a and off on b",
        "-device virtio-net-pci: netdev.queues is 2 on a and 4 on b",
        a_more=words(False, ",readonly=on", 2),
        b_more=words(True, "", 4),
    )


@test(timeout=90)
def preflight_names_a_disk_that_is_read_only(t):
    """a disk that cannot be written to on b, accepted at launch: migrate ends with 13 before anything moves"""
    pair = Pair(t)
    guests = {f"guest_{name}": [*pair.guest(name), *disk(0, name == "b"), "-device", "virtio-blk-pci,drive=disk0,addr=5"]
              for name in "ab"}
    source, destination = pair.launch("--accept-difference", "-device virtio-blk-pci: drive.read-only", **guests)
    source.serial.wait_lines(2)
    text = pair.a.run("migrate", "web1", check=13).stderr
    check_in("b has a virtio-blk-pci at 00:05.0 with VIRTIO_BLK_F_RO, a without: what the guest writes", text, "migrate")
    check_equal((source.status(), destination.status()), ("running", "inmigrate"), "the two QEMUs")


@test(timeout=90)
def one_difference_is_accepted_by_name(t):
    """--accept-difference on both: that one is a warning; on one side only, or of another name: 10"""
    pair = Pair(t)
    more = {"a_more": ["-device", "e1000,addr=5"], "b_more": ["-device", "e1000,addr=6"]}
    accept = ["--accept-difference", "-device e1000: addr"]
    refused(pair, "-device e1000: addr is 5 on a and 6 on b", options=["--accept-difference", "-device e1000"], **more)
    warning = "warning: --accept-difference '-device e1000': no difference is called that; there is '-device e1000: addr'"
    check(any(warning in path.read_text(errors="replace") for path in t.dir.rglob("*launch*.err")), warning)
    guests = {f"guest_{name}": [*pair.guest(name), *more[f"{name}_more"]] for name in "ab"}
    connector, listener = pair.dry_run(*accept, **guests)
    for process in (connector, listener):
        process.expect_status(0, 5)
        check_in("accepted: -device e1000: addr is 5 on a and 6 on b", process.stderr(), process.name)
    listener = pair.listen("--timeout", "8", guest=guests["guest_b"])
    connector = pair.connect(*accept, guest=guests["guest_a"])
    connector.expect_status(10, 40)
    listener.expect_status(10, 40)


@test(timeout=90)
def without_difference_it_goes_on(t):
    """other words for the same machine: launched, without a word about it, and moved"""
    pair = Pair(t)
    more_a = ["-smp", "1", "-rtc", "base=utc", "-device", "virtio-net,netdev=n,mac=52:54:00:00:00:01,addr=5",
              "-netdev", "user,id=n", "-device", "virtio-rng-pci,addr=6"]
    more_b = ["-netdev", "user,id=other,restrict=on", "-device", '{"driver":"virtio-rng-pci","addr":"06.0"}',
              "-device", "virtio-net-pci,mq=off,netdev=other,mac=52-54-00-00-00-01,addr=0x5", "-name", "b"]
    source, destination = pair.launch(guest_a=[*pair.guest("a"), *more_a], guest_b=[*pair.guest("b"), *more_b])
    for process in (source.process, destination.process):
        check_equal(said(process), [], f"what {process.name} says")
    source.serial.wait_lines(2)
    pair.a.run("migrate", "web1", check=0)
    destination.serial.wait_more()


@test(timeout=60)
def a_configuration_file_must_be_there(t):
    """-readconfig of a file that is not there: 78 with its name, before anybody is asked"""
    pair = Pair(t)
    missing = t.dir / "not-there.cfg"
    process = pair.connect(guest=[*pair.guest("a"), "-readconfig", str(missing)])
    process.expect_status(78, 20)
    check_in(str(missing), process.stderr(), "what a says")


@test(timeout=90)
def a_property_that_is_agreed_on(t):
    """host_uso=off against "host_uso": true, -set against -global: a warning with both values, and it goes on"""
    pair = Pair(t, qemu_a=t.second_qemu_path, qemu_b=t.second_qemu_path)
    net = ["-netdev", "user,id=n", "-device"]
    ways = [
        (
            ["virtio-net-pci,netdev=n,id=n0,host_uso=off"],
            ['{"driver":"virtio-net-pci","netdev":"n","id":"n0","host_uso":true}'],
            "-device virtio-net-pci,id=n0: host_uso is off on a and on on b",
        ),
        (
            ["virtio-net-pci,netdev=n,id=n0", "-set", "device.n0.host_uso=off"],
            ["virtio-net-pci,netdev=n,id=n0", "-global", "virtio-net-pci.host_uso=on"],
            "-global virtio-net-pci.host_uso is on b and not on a",
        ),
    ]
    for more_a, more_b, words in ways:
        guests = {"guest_a": [*pair.guest("a"), *net, *more_a], "guest_b": [*pair.guest("b"), *net, *more_b]}
        for process in pair.dry_run(**guests):
            process.expect_status(0, 5)
            check_in(words, process.stderr(), f"what {process.name} says")


@test(timeout=60)
def a_network_with_headers_and_one_without(t):
    """virtio-net on a tap and on -netdev user: 10 on both, and what helps; e1000e does not mind"""
    pair = Pair(t)
    guests = [["-netdev", net, "-device", "CARD,netdev=n,mac=52:54:00:00:00:01"] for net in ("tap,id=n", "user,id=n")]
    words = {card: [[word.replace("CARD", card) for word in guest] for guest in guests] for card in ("virtio-net-pci", "e1000e")}
    refused(
        pair,
        "-device virtio-net-pci: network is with headers on a and without headers on b",
        "vnet_hdr=off on -netdev tap",
        a_more=words["virtio-net-pci"][0],
        b_more=words["virtio-net-pci"][1],
    )
    more_a, more_b = words["e1000e"]
    for process in pair.dry_run(guest_a=[*pair.guest("a"), *more_a], guest_b=[*pair.guest("b"), *more_b]):
        process.expect_status(0, 5)
