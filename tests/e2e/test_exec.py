# SPDX-License-Identifier: GPL-3.0-or-later
"""Becoming QEMU: with the descriptors, signals and environment that the program was started with and nothing of its
own; and Ctrl-C."""
import fcntl
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

from lib.harness import QMP, check, check_equal, check_in, test, wait_until
from lib.pair import VM, Launched, Pair, cmdline, end_of_word


def descriptors(pid, *folders):
    """{kind: how many} of a process's descriptors, and {number: what} of those that it was started with or that are
    files: kinds are without numbers of their own (socket:[1] -> socket), paths without the folder of the one host."""
    kinds, low = {}, {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        kind = re.sub(r":\[.*\]", "", target)
        for folder in folders:
            kind = kind.replace(str(folder), "")
        kind = re.sub(r"/(bare|a|b|a-launch|b-launch)(?:-\d)?\.(serial|out|err)$", r"/\2", kind)
        kinds[kind] = kinds.get(kind, 0) + 1
        if int(entry.name) < 10:
            low[int(entry.name)] = kind
    return kinds, low


def equivalent(t, launched, folder):
    """QEMU's arguments of a launch, for a bare QEMU that has its own sockets, serial file and port."""
    words = []
    for word in launched.argv:
        word = word.replace(str(launched.host.home / "run" / VM), str(folder))
        words.append(re.sub(rf"/{launched.host.name}\.(serial|qmp)", r"/bare.\1", word))
    folder.mkdir()
    check(str(launched.host.home) not in " ".join(words), f"the arguments still name the host's folder: {words}")
    return words


def settle(process, path):
    """Waits until that QEMU answers, and is connected to as the other is."""
    return QMP(path, alive=process.alive)


@test()
def descriptors_are_those_it_was_started_with(t):
    """QEMU has the inherited pipe 7 and file 8, and else just what a bare QEMU of the same arguments has"""
    pair = Pair(t)
    # 7 and 8 are what we give; the shell is there to have them under these numbers, which ours must not have.
    reading, writing, extra = [
        fcntl.fcntl(number, fcntl.F_DUPFD, 20) for number in (*os.pipe(), os.open(t.dir / "extra", os.O_RDWR | os.O_CREAT))
    ]
    wrap = f'exec "$@" 7<&{reading} 8<>{t.dir}/extra {reading}<&- {writing}>&- {extra}<&-'
    keep = {"pass_fds": (reading, writing, extra)}
    argv = pair.a.argv("--vm", VM, "--peer", "b", "--", *pair.guest("a"))
    connector = t.start("bash", "-c", wrap, "bash", *argv, name="a-launch", **keep)
    listener = pair.listen()
    wait_until(lambda: b"qml-guardian" in Path(f"/proc/{connector.pid}/cmdline").read_bytes()
               and os.readlink(f"/proc/{connector.pid}/exe") != os.path.realpath(t.program), 15, "QEMU")
    a = Launched(pair.a, connector, "a")
    Launched(pair.b, listener, "b")
    folder = t.dir / "bare-run"
    words = equivalent(t, a, folder)
    bare = t.start("bash", "-c", wrap, "bash", *words, name="bare", **keep)
    path = end_of_word("-chardev", words, "socket,id=qml-guardian,").split("path=")[1].split(",server=")[0]
    qmp = settle(bare, path)
    for one in (a.qmp, qmp):
        one.command("query-status")
    found, low = descriptors(a.process.pid, pair.a.home / "run" / VM)
    expected, expected_low = descriptors(bare.pid, folder)
    check_equal((low[7], low[8]), ("pipe", f"{t.dir}/extra"), "the inherited descriptors")
    check_equal(sorted(low), sorted(expected_low), "low numbers")
    check_equal(found, expected, "descriptors of the launched and of the bare QEMU")
    # The pipe is the same one.
    check_equal(os.readlink(f"/proc/{a.process.pid}/fd/7"), os.readlink(f"/proc/self/fd/{reading}"), "the pipe")


@test()
def closed_descriptors(t):
    """started with stdin, or stdin, stdout and stderr closed: QEMU has them as a bare QEMU has them"""
    for closing in ("<&-", "<&- >&-", "<&- >&- 2>&-"):
        folder = t.dir / f"round{len(closing)}"
        folder.mkdir()
        kept, t.dir = t.dir, folder
        try:
            pair = Pair(t)
            wrap = f'exec "$@" {closing}'
            connector = t.start("sh", "-c", wrap, "sh", *pair.a.argv("--vm", VM, "--peer", "b", "--", *pair.guest("a")),
                                name="a-launch")
            listener = pair.listen()
            wait_until(lambda: cmdline(connector.pid)[:1] == [t.qemu_path], 15, "QEMU")
            a = Launched(pair.a, connector, "a")
            Launched(pair.b, listener, "b")
            run = t.dir / "bare-run"
            words = equivalent(t, a, run)
            bare = t.start("sh", "-c", wrap, "sh", *words, name="bare")
            path = end_of_word("-chardev", words, "socket,id=qml-guardian,").split("path=")[1].split(",server=")[0]
            qmp = settle(bare, path)
            qmp.command("query-status")
            found, low = descriptors(a.process.pid, pair.a.home / "run" / VM)
            expected, expected_low = descriptors(bare.pid, run)
            check_equal(found, expected, f"descriptors with {closing}")
            check_equal({n: low.get(n) for n in (0, 1, 2) if n not in expected_low}, {n: None for n in (0, 1, 2) if n not in
                        expected_low}, "standard descriptors")
        finally:
            t.dir = kept


def signals(pid):
    """The masks of /proc/PID/status: blocked, ignored and caught signals of the main thread."""
    text = Path(f"/proc/{pid}/status").read_text()
    return {name: re.search(rf"^{name}:\s*(\w+)", text, re.M).group(1) for name in ("SigBlk", "SigIgn", "SigCgt", "ShdPnd")}


def set_signals(ignored, blocked):
    """For preexec_fn: what the program is started with."""

    def apply():
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    return apply


@test()
def signals_are_as_started(t):
    """blocked, ignored and caught signals of QEMU are those of a bare QEMU that was started the same way"""
    rounds = (
        (set(), set()),
        ({signal.SIGPIPE}, set()),
        ({signal.SIGHUP, signal.SIGUSR1}, {signal.SIGUSR2, signal.SIGWINCH}),
    )
    for number, (ignored, blocked) in enumerate(rounds):
        folder = t.dir / f"round{number}"
        folder.mkdir()
        kept, t.dir = t.dir, folder
        try:
            how = {"preexec_fn": set_signals(ignored, blocked)}
            pair = Pair(t)
            connector = pair.connect(**how)
            listener = pair.listen(**how)
            a, b = Launched(pair.a, connector, "a"), Launched(pair.b, listener, "b")
            run = t.dir / "bare-run"
            words = equivalent(t, a, run)
            bare = t.start(*words, name="bare", **how)
            path = end_of_word("-chardev", words, "socket,id=qml-guardian,").split("path=")[1].split(",server=")[0]
            settle(bare, path)
            expected = signals(bare.pid)
            for one in ignored:
                if one is not signal.SIGPIPE and one is not signal.SIGHUP:  # QEMU sets these two itself
                    check(int(expected["SigIgn"], 16) >> (one - 1) & 1, f"bare QEMU does not ignore {one}")
            check_equal(signals(a.process.pid), expected, f"signals of a, ignored {ignored}, blocked {blocked}")
            check_equal(signals(b.process.pid), expected, f"signals of b, ignored {ignored}, blocked {blocked}")
        finally:
            t.dir = kept


@test()
def signals_before_qemu_sets_its_own(t):
    """what a script in QEMU's place is given: ignored signals stay ignored, blocked ones blocked, no other"""
    path = t.dir / "qemu-script"
    path.write_text(
        "#!/usr/bin/env python3\nimport os, sys\n"
        "if 'qml-guardian' in ' '.join(sys.argv):\n"
        "    with open('/proc/self/status') as f, open(os.environ['GIVEN'], 'w') as g: g.write(f.read())\n"
        f"os.execv({t.qemu_path!r}, [{t.qemu_path!r}, *sys.argv[1:]])\n"
    )
    path.chmod(0o755)
    ignored = {signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE, signal.SIGINT, signal.SIGTERM}
    how = {"preexec_fn": set_signals(ignored, {signal.SIGUSR2, signal.SIGPROF})}
    plain = t.start(path, "-name", "qml-guardian", "-version", name="plain", env={"GIVEN": t.dir / "bare"}, **how)
    plain.expect_status(0)
    pair = Pair(t, qemu_a=str(path))
    listener = pair.listen()
    Launched(pair.a, pair.connect(env={"GIVEN": t.dir / "given"}, **how), "a")
    Launched(pair.b, listener, "b")
    given = {
        name: re.findall(r"^Sig(?:Blk|Ign|Cgt):.*", (t.dir / name).read_text(), re.M) for name in ("bare", "given")
    }
    check_equal(given["given"], given["bare"], "signals")


@test()
def hangup_after_nohup(t):
    """started with SIGHUP ignored, as by nohup, the listener does not mind one"""
    pair = Pair(t)
    listener = pair.listen(preexec_fn=set_signals({signal.SIGHUP}, set()))
    listener.wait_output("waiting for a peer")
    listener.signal(signal.SIGHUP)
    Launched(pair.a, pair.connect(), "a")
    Launched(pair.b, listener, "b")


def environment(pid):
    """{name: value} of a process as it was exec'd."""
    words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(word.decode(errors="replace").split("=", 1) for word in words if b"=" in word)


@test()
def environment_is_as_started(t):
    """QEMU's environment is the program's without QEMU_MIGRATE_LAUNCH_HOME; that names the home as --home does"""
    pair = Pair(t)
    extra = {"QEMU_MIGRATE_LAUNCH_HOME": str(pair.a.home), "ODD": "a=b \n c", "EMPTY": "", "TMPDIR": str(t.dir)}
    listener = pair.listen()
    connector = t.start(t.program, "--vm", VM, "--peer", "b", "--", *pair.guest("a"), name="a-launch", env=extra)
    a = Launched(pair.a, connector, "a")
    Launched(pair.b, listener, "b")
    expected = t.environment(extra)
    del expected["QEMU_MIGRATE_LAUNCH_HOME"]
    check_equal(environment(a.process.pid), expected, "environment")


@test()
def no_secret_is_shown(t):
    """while it waits, asks and runs, no argument, environment or log of any process has the private key"""
    pair = Pair(t)
    secrets = []
    for host in (pair.a, pair.b):
        pem = (host.home / "config" / "identity.key").read_bytes()
        body = b"".join(pem.split(b"\n")[1:-2])
        raw = subprocess.run(["openssl", "pkey", "-in", host.home / "config" / "identity.key", "-outform", "DER"],
                             capture_output=True, check=True).stdout[-32:]
        secrets += [body, body[-44:], raw, raw.hex().encode()]
    looked = 0

    def look():
        nonlocal looked
        for pid, _ in t.alive():
            for name in ("cmdline", "environ"):
                try:
                    data = Path(f"/proc/{pid}/{name}").read_bytes()
                except OSError:
                    continue
                looked += 1
                for secret in (*secrets, b"PRIVATE KEY"):
                    check(secret not in data, f"a secret in {name} of {pid}")

    listener = pair.listen("-v")
    listener.wait_output("waiting for a peer")
    look()
    connector = pair.connect("-v")
    while b"qml-guardian" not in Path(f"/proc/{connector.pid}/cmdline").read_bytes():
        check(connector.alive(), connector.stderr())
        look()
    a, b = Launched(pair.a, connector, "a"), Launched(pair.b, listener, "b")
    look()
    check(looked > 10, f"only {looked} looks")
    for process in (connector, listener):
        for secret in (*secrets, b"PRIVATE KEY"):
            check(secret not in process.err.read_bytes() + process.out.read_bytes(), "a secret in the log")
    for launched in (a, b):
        opened = [os.readlink(entry) for entry in Path(f"/proc/{launched.process.pid}/fd").iterdir()]
        check(not [name for name in opened if "identity" in name or "config" in name], f"descriptors: {opened}")
    for path in [*(pair.a.home / "state").rglob("*"), *(pair.b.home / "state").rglob("*")]:
        if path.is_file():
            check(not any(secret in path.read_bytes() for secret in secrets), f"a secret in {path}")


@test()
def daemonize(t):
    """-daemonize: the program returns with QEMU's status 0, and QEMU runs on and answers"""
    pair = Pair(t)
    guest = [*pair.guest("a"), "-daemonize", "-pidfile", str(t.dir / "pid")]
    listener = pair.listen()
    connector = pair.connect(guest=guest)
    connector.expect_status(0)
    pid = int((t.dir / "pid").read_text())
    argv = cmdline(pid)
    path = end_of_word("-chardev", argv, "socket,id=qml-guardian,").split("path=")[1].split(",server=")[0]
    with QMP(path) as qmp:
        check_equal(qmp.command("query-status")["status"], "running", "state")
    Launched(pair.b, listener, "b")


@test()
def daemonized_guest_is_not_started_twice(t):
    """a second launch while the daemonized QEMU runs: 14"""
    pair = Pair(t)
    guest = [*pair.guest("a"), "-daemonize"]
    listener = pair.listen()
    connector = pair.connect(guest=guest)
    connector.expect_status(0)
    Launched(pair.b, listener, "b")
    refused = pair.a.run("--vm", VM, "--peer", "b", "--timeout", "2", "--", *guest, check=14)
    check_in("runs here", refused.stderr, "what it says")


@test()
def lost_record(t):
    """a VM that runs, and whose record was removed, is not started once more: 14 with its pid"""
    pair = Pair(t)
    a, _ = pair.launch()
    (pair.a.home / "state" / "vms" / f"{VM}.json").unlink()
    refused = pair.a.run("--vm", VM, "--peer", "b", "--timeout", "5", "--", *pair.guest("a"), check=14)
    check_in(f"runs here already: its QEMU has pid {a.process.pid}", refused.stderr, "what it says")
    check(Path(end_of_word("-chardev", a.argv, "socket,id=qml-command,").split("path=")[1].split(",")[0]).exists(), "socket")


@test()
def qemus_status(t):
    """after the exec the status is QEMU's: 1 for what QEMU itself refuses"""
    pair = Pair(t)
    listener = pair.listen()
    connector = pair.connect(guest=[*pair.guest("a"), "-chardev", "no-such-backend,id=x"])
    connector.expect_status(1)
    check_in("no-such-backend", connector.stderr(), "QEMU's words")
    Launched(pair.b, listener, "b")


@test()
def interrupted_while_waiting(t):
    """Ctrl-C, SIGTERM and SIGHUP while it waits for a peer, listening or connecting: 130, and nothing is left"""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            continue  # the tests run under nohup(1), and the program respects that
        folder = t.dir / str(int(number))
        folder.mkdir()
        kept, t.dir = t.dir, folder
        try:
            pair = Pair(t)
            listener = pair.listen()
            listener.wait_output("waiting for a peer")
            listener.signal_group(number)
            pair.refused(listener, 130, "interrupted", timeout=5)
            connector = pair.connect()
            connector.wait_output("waiting for b")
            connector.signal_group(number)
            pair.refused(connector, 130, "interrupted", timeout=5)
            with socket.create_server(("127.0.0.1", pair.port)) as server:
                connector = pair.connect()
                server.settimeout(10)
                connection, _ = server.accept()  # and says nothing
                connector.signal_group(number)
                pair.refused(connector, 130, "interrupted", timeout=5)
                connection.close()
            wait_until(lambda: not t.alive(), 5, "end of everything")
            check(not list((pair.a.home / "state").glob("vms/*.json")), "a record")
        finally:
            t.dir = kept


@test(timeout=90)
def interrupted_migration(t):
    """Ctrl-C in a migration: 13, the guest runs on at the source, its record says here; a new try moves it"""
    pair = Pair(t)
    a, b = pair.launch(guest_a=pair.guest("a", memory=512), guest_b=pair.guest("b", memory=512))
    a.serial.wait_lines(3)
    moving = pair.a.start("migrate", VM, "--bandwidth", "16K")
    wait_until(lambda: a.qmp.command("query-migrate").get("status") == "active", 15, "migration under way")
    check_equal(pair.record(pair.a)["place"], "moving", "record on the way")
    refused = pair.a.run("migrate", VM, check=14)
    check_in("another command", refused.stderr, "a second migrate")
    moving.signal_group(signal.SIGINT)
    moving.expect_status(13, 20)
    check_in("runs on here", moving.stderr(), "what migrate says")
    check_equal((a.status(), pair.record(pair.a)["place"]), ("running", "here"), "state afterwards")
    a.serial.wait_more(4)
    a.serial.check_monotonic()
    check_equal(b.serial.lines(), [], "what ran at the destination")


@test(timeout=90)
def killed_migrate_is_taken_up(t):
    """migrate killed with -9 on the way: its watcher gives it up, and the guest is at the source again"""
    pair = Pair(t)
    a, b = pair.launch(guest_a=pair.guest("a", memory=64), guest_b=pair.guest("b", memory=64))
    a.serial.wait_lines(3)
    moving = pair.a.start("migrate", VM, "--bandwidth", "16K")
    wait_until(lambda: a.qmp.command("query-migrate").get("status") == "active", 15, "migration under way")
    check_equal(pair.record(pair.a)["place"], "moving", "record on the way")
    moving.signal(signal.SIGKILL)
    moving.wait(5)
    wait_until(lambda: pair.record(pair.a)["place"] == "here", 20, "record after the watcher's work")
    check_equal(a.status(), "running", "the guest at the source")
    a.serial.wait_more(4)
    a.serial.check_monotonic()
    b.process.wait(10)
    check_equal(b.serial.lines(), [], "what ran at the destination")
    log = (pair.a.home / "state" / "vms" / f"{VM}.migrate.log").read_text()
    check_in("runs on here", log, "what the watcher says")


@test(timeout=90)
def waits_for_the_watcher(t):
    """migrate while a watcher is at work: it waits for its end, and then tells how things are"""
    pair = Pair(t)
    a, _ = pair.launch(guest_a=pair.guest("a", memory=64), guest_b=pair.guest("b", memory=64))
    a.serial.wait_lines(3)
    moving = pair.a.start("migrate", VM, "--bandwidth", "16K")
    wait_until(lambda: a.qmp.command("query-migrate").get("status") == "active", 15, "migration under way")
    moving.signal(signal.SIGKILL)
    moving.wait(5)
    again = pair.a.run("migrate", VM, timeout=60, check=13)
    check_in("runs on here", again.stderr, "what the second migrate says")
    check_equal((a.status(), pair.record(pair.a)["place"]), ("running", "here"), "state afterwards")


@test(timeout=90)
def migrate_lets_go_of_the_pipe(t):
    """x=$(migrate VM) returns: neither watcher nor guardian holds the caller's pipe"""
    pair = Pair(t)
    a, b = pair.launch()
    a.serial.wait_lines(3)
    result = t.run("sh", "-c", f'x=$("{t.program}" migrate {VM} --home "{pair.a.home}" 2>&1); echo "$x"', check=0)
    check_in("has moved to b", result.stdout, "what migrate said")
    a.process.expect_status(0, 10)
    check_equal(b.status(), "running", "the guest at the destination")
