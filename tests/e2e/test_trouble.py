# SPDX-License-Identifier: GPL-3.0-or-later
"""Trouble while a guest is moved that is no sudden death (those: test_faults.py): strangers at the guardian's door, a
destination that cannot load the guest, Ctrl-C, settings made by hand, and second tries."""
import json
import os
import signal
import socket
import ssl
import time
from contextlib import closing, contextmanager

from lib.harness import check, check_equal, check_in, test, wait_until
from lib.pair import VM
from lib.scene import PAIRINGS, Scene, paths, words_of

SOON = 3.0  # seconds in which a QEMU answers, whatever else goes on


def pairing_name(pairing):
    """A name of PAIRINGS as part of a test's name."""
    return pairing.replace(".", "").replace(" → ", "_to_")


BETWEEN = ("7.2 → 10.0", "10.0 → 7.2")


def register(name, function, pairings=BETWEEN, **arguments):
    """One test for each of these pairings of versions; for every one with QML_FAULTS=all."""
    for pairing in PAIRINGS if os.environ.get("QML_FAULTS") == "all" else pairings:

        def chosen(t, pairing=pairing):
            function(t, *paths(t, pairing), **arguments)

        chosen.__name__ = f"test_{name}_{pairing_name(pairing)}"
        chosen.__module__ = __name__
        chosen.__doc__ = f"{function.__doc__} ({pairing})"
        test(timeout=90)(chosen)


def moved(scene, migrate, timeout=40, whole=True):
    """migrate ends with 0, and the guest goes on at the destination."""
    migrate.expect_status(0, timeout)
    scene.check_one("b", whole=whole)


def stayed(scene, migrate, *words, timeout=40, status=13):
    """migrate ends with 13 and these words, and the guest has stayed at the source. Returns what it said."""
    migrate.expect_status(status, timeout)
    for word in words:
        check_in(word, migrate.stderr(), "what migrate said")
    scene.check_one("a")
    return migrate.stderr()


# Strangers.


class Stranger:
    """A connection to the guardian that means no good."""

    def __init__(self, scene):
        self.socket = socket.create_connection((scene.address, scene.port), timeout=5)
        self.socket.settimeout(5)

    def say(self, data):
        """Sends plain bytes, as far as they are taken."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass
        return self

    def tls(self, host=None, patience=2.0):
        """Shakes hands, with that host's key; the alert's name, or None when none came for so long: it was let in."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if host:
            folder = host.home / "config"
            context.load_cert_chain(folder / "identity.crt", folder / "identity.key")
        try:
            self.socket = context.wrap_socket(self.socket)
            self.socket.settimeout(patience)
            self.socket.recv(1)  # in TLS 1.3 the client's certificate is judged after the handshake
        except ssl.SSLError as alert:
            return alert.reason or str(alert)
        except TimeoutError:
            return None
        except OSError as reason:
            return str(reason)
        return "closed"

    def close(self):
        """Hangs up."""
        self.socket.close()


@contextmanager
def strangers(scene, other, third):
    """Each kind of them, all at once, as long as the block lasts. other: a host that b does not trust; third: one that
    it trusts, but that has nothing to do with this VM."""
    crowd = [Stranger(scene) for _ in range(20)]
    for data in (b"QEVM\0\0\0\3", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0\1", bytes(1 << 16)):
        crowd.append(Stranger(scene).say(data))
    for host in (None, other):
        one = Stranger(scene)
        crowd.append(one)
        check(one.tls(host) is not None, "a stranger was let in")
    for words in (
        b"POST /v1/abort HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/stream HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: qemu-migration-stream\r\n\r\n",
        b"POST /v1/renew HTTP/1.1\r\nContent-Length: 100000\r\n\r\n{",
        b"",
    ):
        one = Stranger(scene)
        crowd.append(one)
        check_equal(one.tls(third, 0.2), None, "alert for a trusted host")
        one.say(words)
    try:
        yield
    finally:
        for one in crowd:
            one.close()


def outsiders(t, scene):
    """(A host that b does not trust, one that it trusts but that has nothing to do with the VM)."""
    other, third = t.host("other"), t.host("third")
    other.identity_pin()
    third.trust(scene.b, name="b", address=f"{scene.address}:{scene.port}")
    scene.b.trust(third)

    def is_let_in():  # the guardian looks at times who is trusted
        with closing(Stranger(scene)) as one:
            return one.tls(third, 0.3) is None

    wait_until(is_let_in, 10, "third host that is trusted")
    return other, third


def check_answers(scene, since):
    """Both QEMUs have answered soon, at every look since then."""
    looks = [look for look in scene.watch.looks if look.began > since and look.status != "gone"]
    check(len(looks) > 50, f"only {len(looks)} looks")
    slowest = max(looks, key=lambda look: look.ended - look.began)
    took = slowest.ended - slowest.began
    check(took < SOON, f"QEMU on {slowest.side} took {took:.1f} s to answer: {slowest}")


def besieged(t, qemu_a, qemu_b):
    """strangers at the guardian, silent, plain, with a wrong key, trusted but not the source, before and during a
    migration: it completes, and both QEMUs answer all the time"""
    scene = Scene(t, qemu_a, qemu_b, mebibytes=128)
    scene.launch()
    other, third = outsiders(t, scene)
    with strangers(scene, other, third):
        pass
    with strangers(scene, other, third):
        began = time.monotonic()
        later = []
        scene.watch.at("mid-copy", lambda: later.extend(Stranger(scene) for _ in range(80)))
        migrate = scene.migrate(slow=False)
        scene.watch.wait("mid-copy", alive=migrate)
        with strangers(scene, other, third):
            moved(scene, migrate)
            check_answers(scene, began)
        for one in later:
            one.close()
    scene.end()


register("strangers", besieged)


@test()
def trusted_but_not_the_source(t):
    """a host that the guardian's host trusts, and that has the VM's agreement, cannot move it, look at it or end it"""
    scene = Scene(t)
    scene.launch()
    _, third = outsiders(t, scene)
    # All that a knows, but its key.
    for folder in ("state/vms", "state/agreements"):
        (third.home / folder).mkdir(parents=True, exist_ok=True)
        for path in (scene.a.home / folder).glob(f"{VM}.json"):
            target = third.home / folder / path.name
            target.write_bytes(path.read_bytes())
            target.chmod(path.stat().st_mode & 0o777)
    refused = scene.again(host=third)
    check(refused.wait(30) not in (0, 14), f"status {refused.poll()}: {refused.stderr()}")
    check_equal(scene.status("b"), "inmigrate", "state of the destination")
    moved(scene, scene.migrate())
    scene.end()


# A destination that cannot load it.

# Devices on the source and on the destination that look the same and are not; the difference, which is accepted by name.
VECTORS = (["-device", "virtio-rng-pci,vectors=2"], ["-device", "virtio-rng-pci,vectors=4"])
LINK = (["-device", "pcie-root-port,id=r,x-speed=16"], ["-device", "pcie-root-port,id=r,x-speed=2_5"])
ACCEPT_VECTORS = ("--accept-difference", "-device virtio-rng-pci: vectors")
ACCEPT_LINK = ("--accept-difference", "-device pcie-root-port,id=r: x-speed")


def not_loadable(t, qemu_a, qemu_b, devices=VECTORS):
    """a device whose state the destination cannot load: 13, and the guest runs on at the source"""
    scene = Scene(t, qemu_a, qemu_b, more=dict(zip("ab", devices)))
    scene.launch(*ACCEPT_VECTORS)
    stayed(scene, scene.migrate())
    scene.end()


register("load_error", not_loadable)


@test()
def load_error_of_a_link(t):
    """the same with another device, and a fast network"""
    scene = Scene(t, more=dict(zip("ab", LINK)))
    scene.launch(*ACCEPT_LINK)
    stayed(scene, scene.migrate(slow=False))
    scene.end()


# Ctrl-C, and second tries.


def interrupted(t, qemu_a, qemu_b):
    """Ctrl-C in the middle: 13, soon, and the guest runs on at the source"""
    scene = Scene(t, qemu_a, qemu_b)
    scene.launch()
    migrate = scene.migrate()
    scene.watch.wait("mid-copy", alive=migrate)
    began = time.monotonic()
    migrate.signal(signal.SIGINT)
    migrate.expect_status(13, 20)
    took = time.monotonic() - began
    check(took < 15, f"{took:.1f} s after Ctrl-C")
    scene.check_one("a")
    check_equal(json.loads(scene.watch.record.read_text())["place"], "here", "record of the source")
    scene.end()


register("interrupted", interrupted)


@test(timeout=90)
def interrupted_twice_and_again(t):
    """Ctrl-C again and again while it is being cancelled does no harm; a new destination takes the guest"""
    scene = Scene(t)
    scene.launch()
    migrate = scene.migrate()
    scene.watch.wait("mid-copy", alive=migrate)
    for _ in range(5):
        migrate.signal(signal.SIGINT)
        time.sleep(0.02)
    migrate.expect_status(13, 20)
    scene.check_one("a")
    scene.new_destination()
    scene.proxy.heal()
    moved(scene, scene.again())
    scene.end()


@test(timeout=90)
def second_try(t):
    """not reachable at first: refused, the guest runs on, and the same destination takes it when it can be reached"""
    scene = Scene(t)
    scene.launch()
    scene.proxy.cut("refused")
    migrate = scene.migrate()
    status = migrate.wait(40)
    check(status in (13, 69), f"status {status}: {words_of(migrate)}")
    scene.check_one("a")
    scene.proxy.heal()
    moved(scene, scene.again())
    scene.end()


@test(timeout=90)
def second_try_after_a_mute_network(t):
    """a network that swallows everything from the first connection on: refused in time, and the second try goes well"""
    scene = Scene(t)
    scene.launch()
    scene.proxy.stall()
    migrate = scene.migrate()
    status = migrate.wait(45)
    check(status in (13, 69), f"status {status}: {words_of(migrate)}")
    scene.check_one("a")
    scene.proxy.heal()
    moved(scene, scene.again())
    scene.end()


# Settings by hand.


def capability(name, state=True):
    """Arguments of migrate-set-capabilities."""
    return {"capabilities": [{"capability": name, "state": state}]}


BY_HAND = {
    "multifd_source": [("a", "migrate-set-capabilities", capability("multifd"))],
    "multifd_destination": [("b", "migrate-set-capabilities", capability("multifd"))],
    "channels": [
        *((name, "migrate-set-capabilities", capability("multifd")) for name in "ab"),
        ("a", "migrate-set-parameters", {"multifd-channels": 4}),
        ("b", "migrate-set-parameters", {"multifd-channels": 2}),
    ],
    "postcopy_source": [("a", "migrate-set-capabilities", capability("postcopy-ram"))],
    "xbzrle_source": [("a", "migrate-set-capabilities", capability("xbzrle"))],
}
SWITCHOVER_ACK = {
    name: [
        (name, "migrate-set-capabilities", capability("return-path")),
        (name, "migrate-set-capabilities", capability("switchover-ack")),
    ]
    for name in "ab"
}


def set_by_hand(t, qemu_a, qemu_b, commands, *options):
    """Somebody sets this at the monitors: the guest moves all the same, or it is refused, and never does it hang."""
    scene = Scene(t, qemu_a, qemu_b, mebibytes=16)
    scene.launch()
    for name, command, arguments in commands:
        scene.by_hand(name, command, arguments)
    migrate = scene.migrate(*options, slow=False)
    status = migrate.wait(40)
    if status == 0:
        scene.check_one("b")
    else:
        check(status in (10, 13), f"status {status}: {words_of(migrate)}")
        check(len(migrate.stderr().strip()) > 20, "a refusal without a reason")
        scene.check_one("a")
    scene.end()


def register_by_hand(name, commands, pairing, *options):
    """One test of settings made by hand."""

    def chosen(t):
        set_by_hand(t, *paths(t, pairing), commands, *options)

    chosen.__name__ = f"test_by_hand_{name}_{pairing_name(pairing)}"
    chosen.__module__ = __name__
    chosen.__doc__ = f"{name} set by hand at a monitor, {pairing}: the guest moves, or it is refused; no hang"
    test()(chosen)


for turn, (case, said_by_hand) in enumerate(BY_HAND.items()):
    for pairing_number in (turn, turn + 2):
        register_by_hand(case, said_by_hand, list(PAIRINGS)[pairing_number % 4])
register_by_hand("channels_and_multifd_4", BY_HAND["channels"], "7.2 → 10.0", "--multifd", "4")
register_by_hand("switchover_ack_source", SWITCHOVER_ACK["a"], "10.0 → 10.0")
register_by_hand("switchover_ack_source", SWITCHOVER_ACK["a"], "10.0 → 7.2")
register_by_hand("switchover_ack_destination", SWITCHOVER_ACK["b"], "7.2 → 10.0")
register_by_hand("switchover_ack_destination", SWITCHOVER_ACK["b"], "10.0 → 10.0")


# What has to go through.


def with_options(t, qemu_a, qemu_b, options=(), **guest):
    """the guest moves"""
    scene = Scene(t, qemu_a, qemu_b, **guest)
    scene.launch()
    moved(scene, scene.migrate(*options, slow=False))
    record = json.loads(scene.watch.record.read_text())
    check_equal(record["place"], "moved", "record of the source")
    scene.processes["a"].expect_status(0, 10)
    scene.end()


register("plain", with_options)
register("multifd_4", with_options, PAIRINGS, options=("--multifd", "4"), mebibytes=16)
register("direct", with_options, PAIRINGS, options=("--direct",), proxied=False, mebibytes=16)
register("direct_multifd_4", with_options, options=("--direct", "--multifd", "4"), proxied=False, mebibytes=16)


@test()
def whole_memory_under_kvm(t):
    """under KVM, 10.0 to 7.2: nothing of the memory is lost"""
    t.need_kvm()
    with_options(t, t.second_qemu_path, t.qemu_path, accel="kvm")


def kept(t, qemu_a, qemu_b):
    """--keep-source leaves a paused source, which never runs again by itself"""
    scene = Scene(t, qemu_a, qemu_b, mebibytes=16)
    scene.launch()
    moved(scene, scene.migrate("--keep-source", slow=False))
    check(scene.processes["a"].alive(), "the source's QEMU is gone")
    check_equal(scene.watch.newest("a").status, "postmigrate", "state of the source")
    time.sleep(3)
    scene.check_one("b")
    scene.end()


register("keep_source", kept)


@test()
def paused_stays_paused(t):
    """a guest that was paused at the source arrives paused, and goes on when it is told to"""
    scene = Scene(t, mebibytes=16)
    scene.launch()
    scene.by_hand("a", "stop")
    scene.migrate(slow=False).expect_status(0, 40)
    check_equal(scene.running(), [], "who runs")
    wait_until(lambda: scene.watch.newest("b").status == "paused", 5, "paused guest")
    scene.by_hand("b", "cont")
    scene.check_one("b")
    scene.end()
