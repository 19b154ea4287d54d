# SPDX-License-Identifier: GPL-3.0-or-later
"""The guardian of a destination: how it comes, what it keeps, whom it hears, when it goes."""
import json
import os
import re
import socket
import subprocess
import time
from pathlib import Path

from lib.harness import check, check_equal, check_in, test, wait_until
from lib.pair import VM, Launched, Pair
from lib.process import free_port, limits, process_status
from test_agent import peer_calls


def log(host):
    """What the guardian there wrote."""
    return (host.home / "state" / "vms" / f"{VM}.guardian.log").read_text()


def guardians(t):
    """The pids of the program's processes that are left when both launches have become QEMU."""
    return [pid for pid, command in t.alive() if command.split(" ")[0] == str(t.program)]


def guardian(t):
    """The pid of the one guardian."""
    wait_until(lambda: len(guardians(t)) == 1, 5, "one guardian")
    return guardians(t)[0]


def stat_field(pid, number):
    """A field of /proc/PID/stat, counted from 1 as in proc(5)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[number - 3])


@test()
def it_is_nobodys_child(t):
    """a session of its own, no parent of ours, no descriptor but its own; what reads the launch's output sees its end"""
    pair = Pair(t)
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    with open(t.dir / "kept", "w") as kept:
        listener = pair.listen(pass_fds=(writer, kept.fileno()))
        os.close(writer)
        source = Launched(pair.a, pair.connect(), "a")
        destination = Launched(pair.b, listener, "b")
        pid = guardian(t)
        check_equal(stat_field(pid, 6), stat_field(pid, 5), "its session and process group")
        check(stat_field(pid, 6) not in (pid, os.getsid(0)), "it leads its session, or is in ours")
        check(stat_field(pid, 4) not in (destination.process.pid, os.getpid()), "it is still somebody's child")
        targets = {int(entry.name): os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        check_equal(targets[0], "/dev/null", "its standard input")
        check_equal({targets[1], targets[2]}, {str(pair.b.home / "state" / "vms" / f"{VM}.guardian.log")}, "its output")
        pipe = f"pipe:[{os.fstat(reader).st_ino}]"
        kept_by = [number for number, target in targets.items() if "kept" in target or target == pipe]
        check_equal(kept_by, [], f"descriptors of the shell's that it kept: {targets}")
    destination.qmp.command("quit")
    listener.wait(10)
    wait_until(lambda: os.read(reader, 1) == b"", 5, "end of the pipe that the launch was given")
    os.close(reader)
    wait_until(lambda: not guardians(t), 5, "end of the guardian")
    check_in("has ended; nobody had come", log(pair.b), "its log")
    check_equal(source.status(), "running", "the source")


@test()
def output_of_a_launch_by_command_substitution(t):
    """x=$(launch -daemonize) returns: nothing holds the shell's pipe"""
    pair = Pair(t)
    connector = pair.connect()
    words = pair.b.argv("--vm", VM, "--listen", f"127.0.0.1:{pair.port}", "--incoming", "--", *pair.guest("b"))
    words += ["-daemonize"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, env=t.environment(), check=False)
    check_equal(done.returncode, 0, f"status of the launch: {done.stderr}")
    check_in("waits here for", done.stderr, "what it says")
    source = Launched(pair.a, connector, "a")
    pid = guardian(t)
    result = pair.a.run("migrate", VM, check=0, timeout=60)
    check_in("has moved to b", result.stderr, "what migrate says")
    wait_until(lambda: not source.process.alive(), 10, "end of the source's QEMU")
    wait_until(lambda: pid not in guardians(t), 10, "end of the guardian")
    check_equal(pair.record(pair.b)["place"], "here", "the destination's record")


@test()
def it_is_locked_in(t):
    """a seccomp filter and no new privileges for the guardian; its QEMU has none of it"""
    t.need_plain("they need what is forbidden to a process that is locked in")
    pair = Pair(t)
    _, destination = pair.launch()
    check_equal(process_status(guardian(t), "Seccomp", "NoNewPrivs"), {"Seccomp": "2", "NoNewPrivs": "1"}, "the guardian")
    check_equal(process_status(destination.process.pid, "Seccomp", "NoNewPrivs"), process_status("self", "Seccomp", "NoNewPrivs"), "its QEMU")
    wanted = {"Max core file size": "0", "Max open files": "512", "Max file size": str(64 << 20), "Max data size": str(2 << 30)}
    check_equal(limits(guardian(t), *wanted), wanted, "limits of the guardian")
    check_equal(limits(destination.process.pid, *wanted), limits("self", *wanted), "limits of its QEMU")
    check("not locked in" not in log(pair.b), "it says that it is not locked in")


@test()
def without_sandbox(t):
    """--no-sandbox: no seccomp filter, and the log says so"""
    pair = Pair(t)
    pair.launch("--no-sandbox")
    check_equal(process_status(guardian(t), "Seccomp"), {"Seccomp": "0"}, "the guardian")
    # A process of its own: it may write when QEMU is there already.
    wait_until(lambda: "the guardian is not locked in (--no-sandbox)" in log(pair.b), 10, f"its log: {log(pair.b)}")


@test()
def it_goes_with_its_qemu(t):
    """QEMU killed: the guardian says so and frees the port, though nobody had come"""
    pair = Pair(t)
    _, destination = pair.launch()
    destination.process.kill()
    wait_until(lambda: not guardians(t), 5, "end of the guardian")
    check_in("has ended; nobody had come", log(pair.b), "its log")
    socket.create_server(("127.0.0.1", pair.port)).close()


@test()
def nobody_comes(t):
    """--wait 2: QEMU and its guardian end, and say why; without --incoming it is refused"""
    pair = Pair(t)
    began = time.monotonic()
    listener = pair.listen("--wait", "2")
    connector = pair.connect()
    listener.expect_status(0, 20)
    check(time.monotonic() - began > 2, "it did not wait")
    wait_until(lambda: not guardians(t), 5, "end of the guardian")
    check_in("nobody has come for it in the time of --wait", log(pair.b), "its log")
    check_equal(Launched(pair.a, connector, "a").status(), "running", "the source")
    for words in (("--wait", "2"), ("--wait", "0", "--incoming"), ("--wait", "1h", "--incoming")):
        wrong = pair.a.run("--vm", "web2", "--peer", "b", *words, "--", *pair.guest("a"))
        check_equal(wrong.returncode, 64, f"status of {words}: {wrong.stderr}")


@test()
def told_to_end(t):
    """SIGTERM: it ends the QEMU that waits, which nobody could finish any more"""
    pair = Pair(t)
    source, destination = pair.launch()
    os.kill(guardian(t), 15)
    wait_until(lambda: not destination.process.alive(), 5, "end of the QEMU that waited")
    result = pair.a.run("migrate", VM, timeout=60)
    check_equal(result.returncode, 13, f"status of migrate: {result.stderr}")
    check_equal(source.status(), "running", "the source")


@test(timeout=90)
def destination_that_connects(t):
    """the destination is the one that connects: its guardian has one of the migration ports, which the source learns"""
    pair = Pair(t, reverse=True)
    destination, source = pair.launch()
    ports = re.search(r"migration-ports = (\d+)", (pair.a.home / "config" / "config.ini").read_text())
    check_equal(pair.record(pair.b)["peer_port"], int(ports[1]), "the port that the source knows")
    check_in(f"waiting on port {ports[1]}", log(pair.a), "the guardian's log")
    pair.b.run("migrate", VM, check=0, timeout=60)
    destination.serial.wait_lines(2)
    check_equal(destination.status(), "running", "the destination")
    wait_until(lambda: not source.process.alive(), 10, "end of the source")


def raw(t, port, said=b""):
    """A TCP connection to the guardian that says this; what came back, or None if nothing did in 1 s."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
        stranger.sendall(said)
        stranger.settimeout(1)
        try:
            return stranger.recv(1000)
        except (TimeoutError, ConnectionError):
            return None


def source_is_told(t, pair, status, what):
    """What the guardian answers soon to something that only its source may ask, and nobody does."""
    answers = lambda: list(peer_calls(t, pair.a, "b", "nothing")["statuses"])
    wait_until(lambda: answers() == [status], 20, what)


def orders_of_another(t, pair, other):
    """Everything that the source may ask, well made, from one who is trusted and is not the source: 77, nothing happens."""
    agreement = json.loads(pair.b.run("agreement", "show", VM, "--json", check=0).stdout)["digest"]
    key = {"vm": VM, "agreement": agreement, "migration": "0" * 32}
    before = pair.record(pair.b)
    look = peer_calls(t, pair.a, "b", "look", body=key)
    check_equal((look["answered"], look["statuses"]), (1, {}), f"look of the source: {look}")
    wishes = {"bandwidth": 0, "downtime_ms": 300, "multifd": 0, "postcopy": False, "auto_converge": False, "direct": False}
    more = {
        "prepare": {"grant": 1 << 52, "offer": look["answer"]["offer"], "wishes": wishes},
        "renew": {"grant": 0, "wait_ms": 0, "disarm": True},
        "resume": {"good_until": 1 << 52, "run": True, "postcopy": False},
    }
    for name in ("look", "abort", "recover", "done", *more):
        said = peer_calls(t, other, "b", name, body={**key, **more.get(name, {})})
        check_equal(said["statuses"], {"77": 1}, f"{name} of another: {said}")
        check_in(f"c is not who may move {VM} to here", said["words"]["77"], f"{name} of another")
    check_equal(pair.record(pair.b), before, "the record")


@test(timeout=90)
def strangers(t):
    """silent, plaintext, wrong key, trusted but not the source, no more trusted: refused; then it moves"""
    pair = Pair(t)
    source, destination = pair.launch()
    other = t.host("c")
    other.write_config("[host]\nname = c\n")
    pair.b.trust(other)
    other.trust(pair.b, address=f"127.0.0.1:{pair.port}")
    silent = [socket.create_connection(("127.0.0.1", pair.port)) for _ in range(8)]
    for said in (b"GET / HTTP/1.0\r\n\r\n", b"QEVM" + bytes(100), b"\x16\x03\x01\x40\x00" + bytes(400)):
        answer = raw(t, pair.port, said)
        check(not answer or answer[0] == 0x15, f"an answer that is no TLS alert: {answer!r}")
    wrong = t.host("d")
    wrong.write_config("[host]\nname = d\n")
    wrong.identity_pin()
    wrong.trust(pair.b, name="b", address=f"127.0.0.1:{pair.port}")
    for host, status in ((wrong, 77), (other, 69)):
        refused = host.run("--vm", VM, "--peer", "b", "--timeout", "5", "--", *pair.guest("a"), timeout=40)
        check_equal(refused.returncode, status, f"status at {host.name}: {refused.stderr}")
        check_equal((source.status(), destination.status()), ("running", "inmigrate"), "states")
    check_in("waits here for a, and for nobody else", refused.stderr, "what the trusted stranger is told")
    # The source's own, but another VM: it is not to end this one's QEMU for that.
    refused = pair.a.run("--vm", "web2", "--peer", "b", "--timeout", "5", "--", *pair.guest("a"), check=69, timeout=40)
    check_in(f"b: at this port {VM} is waited for: another VM needs another port", refused.stderr, "what another VM's launch is told")
    check("renegotiate" not in refused.stderr, f"what another VM's launch is told: {refused.stderr}")
    words = ("--vm", "web2", "--listen", f"127.0.0.1:{pair.port}", "--incoming", "--", *pair.guest("b"))
    refused = pair.b.run(*words, check=69, timeout=40)
    check_in("Address already in use: end what has that port", refused.stderr, "what another VM's destination is told")
    orders_of_another(t, pair, other)
    log = pair.b.home / "state" / "vms" / f"{VM}.guardian.log"
    calls = peer_calls(t, other, "b", "hello", 200)
    check_equal(calls["statuses"], {"69": 200}, "what one who asks and asks is told")
    lines = log.read_text().count("is not answered")
    check(lines <= 20 * (calls["total_ms"] // 10000 + 2), f"one who asks and asks has {lines} lines of the log")
    entry = pair.b.home / "config" / "trust.d" / "a.json"
    before = entry.read_text()
    entry.write_text(before.replace(pair.a.identity_pin(), wrong.identity_pin()))
    source_is_told(t, pair, "77", "an entry that was edited in place")
    entry.write_text(before)
    source_is_told(t, pair, "69", "the entry as it was")
    away = entry.parent.with_name("away")
    entry.parent.rename(away)
    source_is_told(t, pair, "77", "a trust.d that is gone")
    away.rename(entry.parent)
    source_is_told(t, pair, "69", "a trust.d that is back")
    pair.a.run("migrate", VM, check=0, timeout=60)
    destination.serial.wait_lines(2)
    for one in silent:
        one.close()


@test(timeout=120)
def second_try(t):
    """a destination that is gone is started again under the same agreement (--agreement), and the guest moves"""
    pair = Pair(t)
    source, destination = pair.launch()
    agreement = pair.b.home / "state" / "agreements" / f"{VM}.json"
    destination.process.kill()
    wait_until(lambda: not guardians(t), 5, "end of the guardian")
    refused = pair.a.run("migrate", VM, timeout=60)
    check_equal(refused.returncode, 13, f"status of migrate: {refused.stderr}")
    check_in("runs on here", refused.stderr, "what migrate says")
    again = ("--vm", VM, "--agreement", agreement, "--incoming", "--listen", f"127.0.0.1:{pair.port}")
    process = pair.b.start(*again, "--", *pair.guest("b"), name="b-again")
    back = Launched(pair.b, process, "b")
    pair.a.run("migrate", VM, check=0, timeout=60)
    back.serial.wait_lines(2)
    check_equal(back.status(), "running", "the destination")
    wait_until(lambda: not source.process.alive(), 10, "end of the source")


@test(timeout=120)
def agreement_that_does_not_fit(t):
    """--agreement: another VM's, one without this host, another machine or accelerator, another CPU topology"""
    pair = Pair(t)
    source, destination = pair.launch()
    for one in (source, destination):
        one.process.kill()
    wait_until(lambda: not guardians(t), 5, "end of the guardian")
    kept = pair.b.home / "state" / "agreements" / f"{VM}.json"
    stranger = t.host("c")
    stranger.write_config("[host]\nname = c\n")
    stranger.identity_pin()
    guest = pair.guest("b")
    cases = (
        (pair.b, ("--vm", "web2"), guest, 10, "is about VM web1, not web2"),
        (stranger, ("--vm", VM), guest, 77, "was not agreed with this host"),
        (pair.b, ("--vm", VM), [*guest, "-machine", "pc"], 10, "give the same -machine"),
        (pair.b, ("--vm", VM), [*guest, "-smp", "2"], 12, "cannot give web1 what was agreed on"),
        (pair.b, ("--vm", VM, "--peer", "a"), guest, 64, "--agreement needs no --peer"),
    )
    for host, words, behind, status, said in cases:
        listen = ("--incoming", "--listen", f"127.0.0.1:{free_port()}")
        listen = () if "--peer" in words else listen
        result = host.run(*words, "--agreement", kept, *listen, "--", *behind, timeout=30)
        check_equal(result.returncode, status, f"status: {result.stderr}")
        check_in(said, result.stderr, "what it says")
        check_equal(guardians(t), [], "guardians")


@test(timeout=90)
def restarted_under_its_agreement(t):
    """the guest's QEMU ends on the source and is started again, with nobody to ask: the same CPU"""
    pair = Pair(t)
    source, destination = pair.launch()
    before = source.features()
    destination.process.kill()
    source.process.kill()
    kept = pair.a.home / "state" / "agreements" / f"{VM}.json"
    process = pair.a.start("--vm", VM, "--agreement", kept, "--", *pair.guest("a"), name="a-again")
    again = Launched(pair.a, process, "a")
    again.serial.wait_lines(2)
    check_equal(again.features(), before, "the CPU")
    pair.a.run("verify", VM, check=0)
    check_in("place", pair.record(pair.a), "record")


@test(timeout=120)
def port_for_the_next_try(t):
    """`migrate` and its watcher are gone in mid-copy: the lease ends the QEMU; the guardian stays to say so, but makes
    room for the next try at once, and the guest moves then"""
    pair = Pair(t)
    source, destination = pair.launch()
    source.qmp.command("migrate-set-parameters", **{"max-bandwidth": 400000})
    process = pair.a.start("migrate", VM, "--bandwidth", "400K", name="a-migrate")
    wait_until(lambda: source.qmp.command("query-migrate").get("status") == "active", 15, "migration under way")
    frozen = [pid for pid in guardians(t) if pid != process.pid]
    watchers = [pid for pid in frozen if f"--home\0{pair.a.home}" in Path(f"/proc/{pid}/cmdline").read_text()]
    check_equal(len(watchers), 1, "watchers")
    os.kill(watchers[0], 9)
    process.kill()
    wait_until(lambda: not destination.process.alive(), 20, "end of the QEMU whose lease is over")
    wait_until(lambda: source.status() == "running", 5, "the source")
    check(guardians(t), "nobody is left to say that it has ended")
    kept = pair.b.home / "state" / "agreements" / f"{VM}.json"
    words = ("--vm", VM, "--agreement", kept, "--incoming", "--listen", f"127.0.0.1:{pair.port}")
    back = Launched(pair.b, pair.b.start(*words, "--", *pair.guest("b"), name="b-again"), "b")
    pair.a.run("migrate", VM, check=0, timeout=60)
    back.serial.wait_lines(2)
    wait_until(lambda: not source.process.alive(), 10, "end of the source")
