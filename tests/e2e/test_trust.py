# SPDX-License-Identifier: GPL-3.0-or-later
"""Everybody who is not an honest, trusted peer: nobody becomes QEMU, and one clear line says what is wrong."""
import base64
import json
import os
import shutil
import socket
import ssl
import time
from pathlib import Path

from lib.harness import check, check_equal, check_in, test, wait_until
from lib.pair import VM, Launched, Pair, said

# What the listening program says of a bad initiator, and its status at its deadline: the last failure's, but a message
# that is not even one of that peer's on that connection is a stranger's, and does not count as a failure (69).
BAD_INITIATORS = {
    "tamper-profile": (65, "signature"),
    "foreign-profile": (77, "another key"),
    "old-profile": (77, "old one"),
    "replay-message": (69, "another connection"),
    "hang-after-hello": (69, "in time"),
    "die-before-commit": (69, "in time"),
    "no-commit": (69, "in time"),
    "other-agreement": (76, "proposes another agreement"),
    "foreign-agreement": (77, "another key"),
    "skip-proof": (76, "out of order"),
    "garbage-unshown": (65, "'no feature'"),
    "strange-unshown": (65, "prove: unshown"),
    "false-unshown": (76, "a guest did not see smap, which it was not to see yet"),
    "many-proofs": (76, "a asks for more than 4 proofs"),
    "late-proof": (76, "out of order"),
    "without-proof": (76, "a proposes an agreement without a proof"),
    "other-digest": (76, "proposes another agreement"),
    "other-masked": (76, "proposes another agreement"),
    "accepted-lie": (76, "a accepts what can be left out (smap)"),
    "other-accepted": (76, "proposes another agreement"),
    "unapproved-commit": (77, "not approved"),
    "early-commit": (76, "not approved"),
    "unknown-request": (76, "surrender"),
    "unknown-member": (65, "colour"),
    "garbage-body": (76, "version"),
    "garbage": (69, "envelope"),
    "oversized": (69, "did not speak our protocol"),
}
# The same for a bad peer that was asked.
BAD_RESPONDERS = {
    "tamper-profile": (65, "signature"),
    "foreign-profile": (77, "another key"),
    "old-profile": (77, "old one"),
    "replay-message": (77, "another connection"),
    "hang-after-hello": (69, "in time"),
    "die-before-commit": (69, ""),
    "no-commit": (69, "not acknowledged"),
    "garbage-table": (65, "the proof of b: row 1 "),
    "endless-table": (65, "the proof of b: "),
    "garbage-accepted": (65, "'--accept-row' is not a valid name"),
    "table-and-refusal": (65, "the proof of b: a table or what was refused"),
    "no-table": (65, "the proof of b: a table or what was refused"),
    "refuse-for-ever": (10, "QEMU on b refuses this CPU, and again"),
    "approve-other-digest": (77, "approv"),
    "foreign-approval": (77, ""),
    "acknowledge-other": (76, "acknowledged another agreement"),
    "unknown-member": (65, "colour"),
    "garbage-body": (76, "version"),
    "garbage": (65, ""),
    "oversized": (76, "more than"),
}


def bad_peer_path(t):
    """tests/bad_peer.c, built beside the program or where QML_BAD_PEER says."""
    path = os.environ.get("QML_BAD_PEER") or str(t.program.parent / "bad-peer")
    if not os.access(path, os.X_OK):
        t.skip("QML_BAD_PEER does not name the program of tests/bad_peer.c")
    return path


def start_bad(t, pair, role, deviation, *more):
    """The bad peer in the place of host a (connect) or b (listen)."""
    home = (pair.a if role == "connect" else pair.b).home
    return t.start(bad_peer_path(t), home, role, pair.port, deviation, t.qemu_path, *more, name=f"bad-{deviation}")


def agreements(host):
    """{file: content} of the agreements that are in force on a host."""
    return {path.name: path.read_text() for path in (host.home / "state" / "agreements").glob("*.json")}


def record_an_old_profile(t, pair, role):
    """What the host really sent once, before its profile changed and was sent again."""
    sender, other = (pair.a, pair.b) if role == "connect" else (pair.b, pair.a)
    kept = other.home / "state" / "profiles" / f"{sender.name}.json"
    for deny in ("", "smap"):
        pair.config(sender, deny=deny)
        for process in pair.dry_run():
            process.expect_status(0)
        if not deny:
            shutil.copy(kept, t.dir / "old.profile")
    serials = [payload(path)["serial"] for path in (t.dir / "old.profile", kept)]
    check(serials[0] < serials[1], f"serials {serials}")
    return t.dir / "old.profile"


def payload(path):
    """The payload of a signed statement in a file."""
    text = json.loads(Path(path).read_text())["payload"]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


CONCLUSION = f"qemu-migrate-launch: no peer came to an agreement about {VM} in time"


def check_nobody(t, *but):
    """Nothing that the test started runs, but these Processes."""
    known = [process.pid for process in but]
    wait_until(lambda: not [pid for pid, _ in t.alive() if pid not in known], 10, f"end of {t.alive()}")


def check_one_line(process, words):
    """Exactly one line says what is wrong, with these words in it. What a program that listens says at its deadline
    stands beside that only when there was something else to say."""
    lines = said(process)
    causes = [line for line in lines if line != CONCLUSION] or lines
    check_equal(len(causes), 1, f"lines of what is wrong: {lines}")
    check(len(lines) - len(causes) <= 1, f"the conclusion stands there twice: {lines}")
    check_in(words, causes[0], "what is wrong")


def against_listener(deviation, status, words):
    """A test: a bad initiator against --listen with a deadline."""

    def function(t):
        pair = Pair(t)
        bad_peer_path(t)
        more = [record_an_old_profile(t, pair, "connect")] if deviation == "old-profile" else []
        kept = agreements(pair.b)
        bad = start_bad(t, pair, "connect", deviation, *more)  # it waits for somebody to listen
        listener = pair.listen("--timeout", "9")
        listener.expect_status(status, 30)
        check(bad.poll() in (None, 0), f"the bad peer ended with {bad.poll()}")
        bad.kill()
        check(not bad.stdout().startswith("accepted"), f"the bad peer came through: {bad.stdout()}")
        check_equal(bad.stderr(), "", "the bad peer's own trouble")
        check(bad.stdout() != "", "the bad peer did not get to its deviation")
        check_one_line(listener, words)
        check_equal(agreements(pair.b), kept, "agreements in force")
        check_nobody(t)

    function.__name__ = f"test_listener_against_{deviation.replace('-', '_')}"
    function.__module__ = __name__
    function.__doc__ = f"an initiator with {deviation}: {status} at the deadline, one line, nobody becomes QEMU"
    test()(function)


def against_initiator(deviation, status, words):
    """A test: a bad responder against --peer."""

    def function(t):
        pair = Pair(t)
        bad_peer_path(t)
        more = [record_an_old_profile(t, pair, "listen")] if deviation == "old-profile" else []
        bad = start_bad(t, pair, "listen", deviation, *more)
        connector = pair.connect("--timeout", "9")
        connector.expect_status(status, 30)
        check(bad.poll() in (None, 0, 1), f"the bad peer ended with {bad.poll()}")
        bad.kill()
        check_one_line(connector, words)
        check_nobody(t)

    function.__name__ = f"test_initiator_against_{deviation.replace('-', '_')}"
    function.__module__ = __name__
    function.__doc__ = f"a listening peer with {deviation}: {status}, one line, nobody becomes QEMU"
    test()(function)


for one, (expected, text) in BAD_INITIATORS.items():
    against_listener(one, expected, text)
for one, (expected, text) in BAD_RESPONDERS.items():
    against_initiator(one, expected, text)


@test()
def bad_peer_can_be_honest(t):
    """the bad peer without a deviation comes through on either side: what the others show is their deviation's doing"""
    pair = Pair(t)
    listener = pair.listen("--dry-run", "--timeout", "20")
    bad = start_bad(t, pair, "connect", "none")
    listener.expect_status(0)
    check_equal((bad.wait(), bad.stdout()), (0, "accepted\n"), f"the peer that connects, {bad.stderr()}")
    bad = start_bad(t, pair, "listen", "none")
    pair.connect("--dry-run").expect_status(0)
    check_equal((bad.wait(), bad.stdout()), (0, "accepted\n"), f"the peer that listens, {bad.stderr()}")


# Peers that lie about what their guest sees. What is bad for this side is refused or said aloud.


@test()
def proposal_of_another_table(t):
    """the table in the proposal is not what this side's guest sees: 11 on both, by name, and the listener goes on"""
    pair = Pair(t)
    bad = start_bad(t, pair, "connect", "other-table")
    listener = pair.listen("--timeout", "9")
    listener.expect_status(11, 30)
    check_in("refused a guest would not see the same CPU on b and a: host a: leaf 7 EBX", bad.stdout(), "the answer")
    lines = said(listener)
    check_equal(lines[0], "qemu-migrate-launch: host a: leaf 7 EBX bit 20 (smap) is 0, elsewhere 1", "the first line")
    check_in("with a: a guest would not see the same CPU", lines[2], "the last line")
    check_equal((len(lines), lines[-1], agreements(pair.b)), (4, CONCLUSION, {}), "lines, the last of them, agreements")
    check_nobody(t)


@test()
def answer_of_another_table(t):
    """a peer that says its guest sees no smap when it does, whatever is left out: 11 by name"""
    pair = Pair(t)
    start_bad(t, pair, "listen", "lie-about-table")
    connector = pair.connect("--timeout", "20")
    connector.expect_status(11, 40)
    check_in("qemu-migrate-launch: host a: leaf 7 EBX bit 20 (smap) is 0, elsewhere 1", said(connector), "lines")
    check_equal(len(said(connector)), 3, "lines")
    check_equal(agreements(pair.a), {}, "agreements")


@test()
def answer_of_a_huge_table(t):
    """a table with thousands of rows that nobody has: 11 in time, and not a line for each"""
    pair = Pair(t)
    start_bad(t, pair, "listen", "huge-table")
    connector = pair.connect("--timeout", "20")
    began = time.monotonic()
    connector.expect_status(11, 40)
    check(time.monotonic() - began < 18, "it took too long")
    lines = said(connector)
    check(len(lines) < 30, f"{len(lines)} lines")
    check_in("leaf 0x50000000", lines[0], "the first line")
    check("differences more" in lines[-3], f"what is said of the others: {lines[-3][:200]}")


@test()
def feature_stripped_by_a_lie(t):
    """a peer that lies a security feature away: it goes, which is said aloud on the honest side; required: 10"""
    for required in (False, True):
        kept, t.dir = t.dir, t.dir / f"required-{required}"
        t.dir.mkdir()
        try:
            pair = Pair(t)
            bad = start_bad(t, pair, "listen", "refuse-smap")
            process = pair.connect("--timeout", "9", "--dry-run", *(["--require", "smap"] if required else []))
            process.expect_status(10 if required else 0, 30)
        finally:
            t.dir = kept
        if required:
            check_one_line(process, "smap")
            check(not bad.stdout().startswith("accepted"), "the bad peer came through")
        else:
            check_equal((bad.wait(), bad.stdout()), (0, "accepted\n"), f"the bad peer, {bad.stderr()}")
            check_in("warning: SECURITY feature smap is lost (b: qemu)", process.stderr(), "what is said")


@test()
def lost_acknowledgement(t):
    """the connection breaks when the peer has the commit: it is sent again, and the launch goes on"""
    pair = Pair(t)
    bad = start_bad(t, pair, "listen", "lose-acknowledgement")
    pair.connect("--dry-run", "--timeout", "10").expect_status(0)
    check_equal((bad.wait(), bad.stdout()), (0, "accepted\n"), f"the peer that listens, {bad.stderr()}")


@test(timeout=120)
def listener_outlives_them_all(t):
    """without --timeout the listener goes on after every bad initiator, and then agrees with the honest peer"""
    pair = Pair(t)
    listener = pair.listen()
    listener.wait_output("waiting for a peer")
    for deviation in BAD_INITIATORS:
        if deviation == "old-profile":
            continue
        bad = start_bad(t, pair, "connect", deviation)
        wait_until(bad.stdout, 15, f"outcome of {deviation}: {bad.stderr()}")
        bad.kill()
        check(not bad.stdout().startswith("accepted"), f"{deviation} came through")
        check(listener.alive(), f"the listener ended after {deviation}: {listener.stderr()}")
        check_equal(agreements(pair.b), {}, f"agreements after {deviation}")
    launched = Launched(pair.a, pair.connect(), "a"), Launched(pair.b, listener, "b")
    check_equal(launched[0].features()["smep"], launched[1].features()["smep"], "smep")


# Who is not trusted at all.


def repin(host, name):
    """The trust entry gets the pin of a key that nobody has."""
    path = host.home / "config" / "trust.d" / f"{name}.json"
    entry = json.loads(path.read_text())
    entry["pins"] = ["sha256//" + base64.b64encode(bytes(32)).decode()]
    path.write_text(json.dumps(entry))


def expire(host, name):
    """The trust entry has expired."""
    path = host.home / "config" / "trust.d" / f"{name}.json"
    entry = json.loads(path.read_text())
    entry["expires"] = int(time.time()) - 10
    path.write_text(json.dumps(entry))


def distrust(t, change, on, initiator_words, listener_words=None):
    """`change` on host a or b; the initiator says 77 and why; the listener logs a line and waits on for another."""
    pair = Pair(t)
    change(getattr(pair, on), "b" if on == "a" else "a")
    listener = pair.listen("--timeout", "9")
    pair.refused(pair.connect("--timeout", "20"), 77, *initiator_words)
    listener.expect_status(69, 20)
    if listener_words:
        check_one_line(listener, listener_words)
    check_equal((agreements(pair.a), agreements(pair.b)), ({}, {}), "agreements")
    check_nobody(t)


@test()
def wrong_pin_of_the_listener(t):
    """the initiator has another pin for the listener: 77 with both pins, nobody becomes QEMU"""
    distrust(t, repin, "a", ["trusted as b is sha256//AAAA"])


@test()
def wrong_pin_of_the_initiator(t):
    """the listener has another pin for the initiator: 77 with what to do, the listener logs a line and lives on"""
    distrust(t, repin, "b", ["does not trust this host's key", "trust add"], "127.0.0.1")


@test()
def expired_trust_at_the_initiator(t):
    """the initiator's entry for the listener has expired: 77"""
    distrust(t, expire, "a", ["has expired"])


@test()
def expired_trust_at_the_listener(t):
    """the listener's entry for the initiator has expired: 77, and the line says so"""
    distrust(t, expire, "b", ["expired"], "expired")


@test()
def unknown_peer(t):
    """--peer of a host without a trust entry: 77, with the command that would add it"""
    pair = Pair(t)
    refused = pair.a.run("--vm", VM, "--peer", "c", "--", *pair.guest("a"), check=77)
    check_equal(len(said(refused)), 1, "lines")
    check_in("trust add", refused.stderr, "what to do")


@test()
def no_client_certificate(t):
    """without a certificate: the listener's own certificate, an alert, nothing more; then an honest peer is served"""
    pair = Pair(t)
    listener = pair.listen()
    listener.wait_output("waiting for a peer")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = b"POST /v1/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    alerts = []
    for words in (b"", request):  # what it sends may make the kernel drop the alert that comes back
        with socket.create_connection(("127.0.0.1", pair.port), timeout=10) as plain:
            try:
                with context.wrap_socket(plain) as stranger:
                    check_equal(stranger.version(), "TLSv1.3", "version")
                    stranger.sendall(words) if words else None
                    check_equal(stranger.recv(1000), b"", "what a stranger gets")
            except OSError as reason:
                alerts.append(str(reason).upper())
    check_in("CERTIFICATE_REQUIRED", alerts[0], "the alert")
    with socket.create_connection(("127.0.0.1", pair.port), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        try:
            while chunk := plain.recv(1000):
                answer += chunk
        except ConnectionResetError:
            pass
    check(b"HTTP" not in answer, f"plaintext was answered: {answer!r}")
    tls12 = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls12.check_hostname, tls12.verify_mode, tls12.maximum_version = False, ssl.CERT_NONE, ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", pair.port), timeout=10) as plain:
        try:
            tls12.wrap_socket(plain).close()
            check(False, "TLS 1.2 was accepted")
        except ssl.SSLError:
            pass
    wait_until(lambda: len(said(listener)) >= 4 or not listener.alive(), 10, "line for each stranger")
    check(listener.alive(), f"the listener ended: {listener.stderr()}")
    lines = said(listener)
    check(len(lines) == 4 and all("127.0.0.1" in line for line in lines), f"a line for each stranger: {lines}")
    Launched(pair.a, pair.connect(), "a")
    Launched(pair.b, listener, "b")


@test()
def peer_that_says_nothing(t):
    """a peer that accepts the connection and is silent: 69 in time, one line"""
    pair = Pair(t)
    with socket.create_server(("127.0.0.1", pair.port)) as server:
        began = time.monotonic()
        connector = pair.connect("--timeout", "2")
        server.settimeout(10)
        connection, _ = server.accept()
        connector.expect_status(69, 20)
        connection.close()
    check(time.monotonic() - began < 15, "it took longer than it was allowed to")
    check_one_line(connector, "127.0.0.1")
    check_nobody(t)


@test()
def nobody_there(t):
    """nobody listens there: 69 at the deadline, one line"""
    pair = Pair(t)
    connector = pair.connect("--timeout", "2")
    connector.expect_status(69, 20)
    check_one_line(connector, "cannot connect")
    check_nobody(t)


@test()
def stranger_that_says_nothing(t):
    """a stranger that connects to the listener and is silent keeps nobody waiting"""
    pair = Pair(t)
    listener = pair.listen()
    listener.wait_output("waiting for a peer")
    with socket.create_connection(("127.0.0.1", pair.port)):
        Launched(pair.a, pair.connect("--timeout", "8"), "a")
        Launched(pair.b, listener, "b")


@test()
def files_that_others_can_change(t):
    """a key that others can read, a trust entry or config.ini that others can write: 77, named; nobody is asked"""
    pair = Pair(t)
    folder = pair.a.home / "config"
    for path, mode in ((folder / "identity.key", 0o644), (folder / "trust.d" / "b.json", 0o666),
                       (folder / "config.ini", 0o666)):
        kept = path.stat().st_mode & 0o777
        path.chmod(mode)
        refused = pair.a.run("--vm", VM, "--peer", "b", "--", *pair.guest("a"), check=77)
        check_equal(len(said(refused)), 1, "lines")
        check_in(path.name, refused.stderr, "the file's name")
        path.chmod(kept)
    check_nobody(t)
