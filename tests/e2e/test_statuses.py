# SPDX-License-Identifier: GPL-3.0-or-later
"""Every exit status of src/base/status.h, provoked from every command that can end with it: one line, which says what failed,
where, and what to do next."""
import inspect
import re
import signal
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lib.harness import REGISTERED, check, check_equal, check_in, free_port, test
from lib.pair import VM, Launched, Pair, guest_args, said

TOP = Path(__file__).resolve().parents[2]

# What each command can end with, besides 0. 70, want of memory or descriptors, can come of all: here of those that have the
# most to do, and in injected.* wherever memory and calls fail.
CAN_END_WITH = {
    "launch": (10, 11, 12, 14, 64, 65, 69, 70, 73, 76, 77, 78, 130),
    "receive": (10, 12, 14, 64, 65, 69, 73, 76, 77, 78, 130),
    "migrate": (13, 14, 64, 65, 77, 78),
    "adopt": (10, 14, 64, 65, 69, 73, 76, 77, 78),
    "verify": (12, 14, 64, 65, 69, 78),
    "agreement": (12, 64, 65, 78),
    "profile": (64, 65, 70, 73, 76, 77, 78),
    "baseline": (10, 64, 65, 76, 78),
    "serve": (64, 69, 70, 73, 77, 78),
    "identity": (64, 73, 77, 78),
    "trust": (64, 73, 77, 78),
    "doctor": (64, 70, 78),
}
# What costs too much to be provoked once more: by which test it is.
ELSEWHERE = {
    ("launch", 11): "proof.smp_that_differs",
    ("receive", 12): "receive.drift",
    ("verify", 12): "verify.vendor_family_model",
    ("adopt", 10): "adopt.policy",
    ("adopt", 76): "adopt.sockets",
    ("adopt", 77): "adopt.other_users",
    ("profile", 76): "probe.talks_nonsense",
    ("baseline", 76): "baseline.other_refusals",
}


@dataclass
class Row:
    """A call of the program and how it must end. what, where, next: words of the one line that it says."""

    command: str
    status: int
    words: list
    what: str
    where: str
    next: str
    host: object = None  # another one than the scene's
    limit: int = 0  # of descriptors


RAW = re.compile(r'\{"|\(null\)|%[sd]|errno|item not found|QMP reply|Traceback|0x[0-9a-f]{8}')


def judge(row, result):
    """What of the outcome is wrong, a line each."""
    lines = [line for line in said(result) if "warning: " not in line]
    wrong = []
    if result.returncode != row.status:
        wrong.append(f"status {result.returncode}")
    if len(lines) != 1:
        wrong.append(f"{len(lines)} lines: {lines}")
    text = lines[-1] if lines else ""
    if "qemu-migrate-launch: " not in text:
        wrong.append("not the program's own words")
    wrong += [f"no {name} ({word!r})" for name in ("what", "where", "next") if (word := getattr(row, name)) not in text]
    if RAW.search(text):
        wrong.append("raw internals")
    if len(text) > 500:
        wrong.append(f"{len(text)} characters")
    return [f"{row.command} {row.status} {' '.join(map(str, row.words))[:80]}: {'; '.join(wrong)}: {text}"] if wrong else []


def play(t, host, rows):
    """Runs all rows; Failure with all that is wrong."""
    wrong = []
    for row in rows:
        chosen = row.host or host
        name = [] if row.command == "launch" else [row.command]
        argv = chosen.argv(*name, *row.words)
        if row.limit:
            argv = ["bash", "-c", f'ulimit -n {row.limit}; exec "$@"', "bash", *argv]
        wrong += judge(row, t.run(*argv, env=chosen.env, timeout=40))
    check(not wrong, "\n".join(wrong))


def guest(t, *more):
    return [t.qemu_path, *guest_args(t, "a"), *more]


class Empty:
    """The hosts that rows of `nothing_runs` are about: a has an identity, trusts c, which is not there, and has damaged
    files; n has nothing, f's state folder is a file, k's key can be read by all, w's trust.d can be written by all, g has never
    asked its QEMU, none has a home that cannot be."""

    def __init__(self, t):
        self.a, self.c, self.n, self.f, self.k, self.w, self.g, self.none = (
            t.host(name) for name in ("a", "c", "n", "f", "k", "w", "g", "none")
        )
        self.none.home = Path("/proc/self/none")
        for host in (self.a, self.f, self.k, self.w, self.g):
            host.identity_pin()
            host.trust(self.c, address="127.0.0.1:1")
        for path in ("agreements", "vms"):
            (self.a.home / "state" / path).mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.a.home / "state" / path / "web2.json").write_text("{}\n")
        (self.a.home / "state").chmod(0o700)
        (self.f.home / "state").write_text("")
        (self.w.home / "config" / "trust.d").chmod(0o777)
        (self.k.home / "config" / "identity.key").chmod(0o644)
        folder = self.a.home / "config" / "vms"
        folder.mkdir(mode=0o700)
        (folder / "web3.args").write_text("qemu-system-x86_64 -name $NAME\n")
        self.garbage = t.dir / "garbage"
        self.garbage.write_text("hello\n")
        self.profiles = {}
        for host in (self.a, self.c):
            self.profiles[host.name] = t.dir / f"{host.name}.profile"
            host.write_config(f"[host]\nname = {host.name}\n")
            host.prepare("profile", "--accel", "tcg", "-o", self.profiles[host.name])


def rows_of_empty(t, scene):
    """All that needs no VM."""
    a, f, n, k = scene.a, scene.f, scene.n, scene.k
    start = ["--vm", VM, "--peer", "c", "--timeout", "1", "--", *guest(t)]
    record, agreement = a.home / "state/vms/web2.json", a.home / "state/agreements/web2.json"
    copy, no_key = "put it back from a copy", "identity init"
    pin = scene.c.identity_pin()
    listed = "'agreement list' shows those"
    return [
        Row("launch", 64, ["--vm", VM, "--peer", "c"], "say what to start", f"vms/{VM}.args", "-- qemu-system-x86_64"),
        Row("launch", 64, ["--vm", VM, "--", *guest(t)], "give --peer HOST", "--listen", "one of them"),
        Row("launch", 65, ["--vm", "web2", "--peer", "c", "--", *guest(t)], "missing member: version", str(record), copy),
        Row("launch", 69, start, "cannot connect to", "127.0.0.1:1", "'serve'"),
        Row("launch", 70, start, "Too many open files", t.qemu_path, "ulimit -n", scene.g, limit=8),
        Row("launch", 73, start, "cannot make folder", f"{f.home}/state/vms", "Not a directory", f),
        Row("launch", 77, ["--vm", VM, "--peer", "b", "--", *guest(t)], "no trust entry", "b", "trust add NAME PIN"),
        Row("launch", 77, start, "identity.key", "mode 0644 lets others read", "chmod 600", k),
        Row("launch", 78, start, "no identity yet", f"{n.home}/config", no_key, n),
        Row("receive", 64, ["web1"], "receive needs --from PEER", "[pool]", "--from PEER"),
        Row("receive", 65, ["web2", "--from", "c", "--", *guest(t)], "the VM's record", str(record), copy),
        Row("receive", 69, ["web1", "--from", "c", "--timeout", "1"], "cannot connect to", "127.0.0.1:1", "'serve'"),
        Row("receive", 77, ["web1", "--from", "b"], "no trust entry", "b", "trust add NAME PIN"),
        Row("receive", 78, ["web3", "--from", "c"], "'$' means something to a shell", "web3.args:1", "write it in '...'"),
        Row("migrate", 64, ["web1"], "no VM web1 was launched", "here", listed),
        Row("migrate", 65, ["web2"], "the VM's record", str(record), copy),
        Row("adopt", 64, ["web1"], "adopt needs --qmp", "QEMU's QMP monitor", "--qmp"),
        Row("adopt", 65, ["web2", "--qmp", "/nowhere"], "the VM's record", str(record), copy),
        Row("adopt", 78, ["web1", "--qmp", "/nowhere"], "no identity yet", f"{n.home}/config", no_key, n),
        Row("verify", 64, ["web1"], "no VM web1 was launched", "here", listed),
        Row("verify", 65, ["web2"], "the VM's record", str(record), copy),
        Row("agreement", 64, ["show", "web1"], "there is no agreement for web1", "agreements/web1.json", listed),
        Row("agreement", 65, ["show", "web2"], "missing member", str(agreement), "--renegotiate"),
        Row("agreement", 65, ["check", "web2"], "missing member", str(agreement), copy),
        Row("agreement", 65, ["list"], "1 of 1 agreements cannot be read", "agreements", "--renegotiate"),
        Row("profile", 64, ["--accel", "xen"], "--accel", "kvm", "tcg"),
        Row("profile", 65, ["--verify", scene.garbage], "not valid JSON", str(scene.garbage), "make it anew"),
        Row("profile", 65, ["--from-qmp", scene.garbage], "not valid JSON", str(scene.garbage), "profile(1) says"),
        Row("profile", 70, ["--accel", "tcg"], "Too many open files", t.qemu_path, "ulimit -n", scene.g, limit=6),
        Row("profile", 73, ["--accel", "tcg", "-o", "/nowhere/x"], "cannot write", "/nowhere/x", "No such file or directory"),
        Row("profile", 77, ["--verify", scene.profiles["c"]], "not trusted here", "c.profile", "trust add NAME sha256//", n),
        Row("profile", 78, ["--accel", "tcg"], "no identity yet", f"{n.home}/config", no_key, n),
        Row("profile", 78, ["--qemu", "/nowhere/qemu"], "no such executable", "/nowhere/qemu", "see that QEMU is installed"),
        Row("baseline", 10, ["--require", "nonsense", *scene.profiles.values()], "cannot be had", "on a (qemu), c (qemu)", "required by --require"),
        Row("baseline", 64, [], "baseline needs the files", "profiles", "one or more"),
        Row("baseline", 65, [scene.garbage], "not valid JSON", str(scene.garbage), "make it anew"),
        Row("baseline", 65, [scene.profiles["a"]] * 2, "both of host a", "a.profile", "leave one out"),
        Row("baseline", 78, ["/nowhere/x"], "cannot read", "/nowhere/x", "No such file or directory"),
        Row("serve", 64, ["now"], "serve takes no words", "serve", "options"),
        Row("serve", 70, ["--listen", f"127.0.0.1:{free_port()}"], "Too many open files", "", "ulimit -n", limit=8),
        Row("serve", 73, ["--listen", f"127.0.0.1:{free_port()}"], "cannot make folder", f"{f.home}/state", "File exists", f),
        Row("serve", 77, ["--listen", f"127.0.0.1:{free_port()}"], "mode 0644", f"{k.home}/config/identity.key", "chmod 600", k),
        Row("serve", 78, ["--listen", "nonsense"], "cannot listen on", "nonsense", "choose another"),
        Row("identity", 64, ["unit"], "identity", "init", "show"),
        Row("identity", 73, ["init"], "cannot make folder", "/proc/self/none", "No such file or directory", scene.none),
        Row("identity", 77, ["show"], "mode 0644 lets others read", f"{k.home}/config/identity.key", "chmod 600", k),
        Row("identity", 78, ["show"], "no identity yet", f"{n.home}/config", no_key, n),
        Row("trust", 64, ["add", "b", "pin"], "is not a pin", "'pin'", "'identity show' prints it"),
        Row("trust", 73, ["add", "b", pin], "cannot make folder", "/proc/self/none", "No such file or directory", scene.none),
        Row("trust", 77, ["list"], "others can change it", f"{scene.w.home}/config/trust.d", "chmod go-w", scene.w),
        Row("trust", 78, ["remove", "b"], "there is no trust entry", "'b'", "'trust list' shows those"),
        Row("doctor", 64, ["web1"], "doctor takes", "arguments", "no"),
        Row("doctor", 70, [], "Too many open files", "", "ulimit -n", limit=4),
        Row("doctor", 78, ["-q"], "problem", "see above", "what to do", n),
    ]


@test(timeout=120)
def nothing_runs(t):
    """usage, damaged and unreadable files, no identity, nobody there, no room, no descriptors: of every command"""
    scene = Empty(t)
    play(t, scene.a, rows_of_empty(t, scene))


class Mute:
    """A TCP port that takes connections, and answers them with these bytes, or never."""

    def __init__(self, answer=None):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.taken = []
        if answer is not None:
            threading.Thread(target=self._serve, args=(answer,), daemon=True).start()

    def _serve(self, answer):
        while True:
            connection, _ = self.socket.accept()
            self.taken.append(connection)
            with suppress(OSError):  # who asked may have gone already
                connection.recv(4096)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)


@test(timeout=60)
def who_answers_is_no_host(t):
    """another server at the peer's address: 76; one that never answers, and Ctrl-C: 130"""
    web, mute = Mute(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Mute()
    a, c, m = t.host("a"), t.host("c"), t.host("m")
    a.identity_pin()
    a.trust(c, address=f"127.0.0.1:{web.port}")
    a.trust(m, address=f"127.0.0.1:{mute.port}")
    where = f"127.0.0.1:{web.port}"
    start = ["--vm", VM, "--timeout", "10", "--peer"]
    rows = [
        Row("launch", 76, [*start, "c", "--", *guest(t)], "no TLS 1.3 connection", where, "see that it is qemu-migrate-launch"),
        Row("receive", 76, [VM, "--from", "c", "--", *guest(t)], "no TLS 1.3", where, "see that it is qemu-migrate-launch"),
    ]
    play(t, a, rows)
    waiting = {
        "launch": a.start(*start[:-1], "--listen", f"127.0.0.1:{free_port()}", "--", *guest(t)),
        "receive": a.start("receive", VM, "--from", "m", "--timeout", "30", "--", *guest(t)),
    }
    waiting["launch"].wait_output("waiting for a peer")
    mute.socket.settimeout(20)
    mute.taken.append(mute.socket.accept()[0])
    for name, process in waiting.items():
        process.signal(signal.SIGINT)
        process.expect_status(130, 20)
        check_equal(said(process), ["qemu-migrate-launch: interrupted"], f"what {name} says")


def end_qemu(launched):
    launched.qmp.close()
    launched.process.kill()


@test(timeout=120)
def a_guest_lived(t):
    """a guest that runs, whose destination is lost, that has ended, whose host has changed: 10, 12, 13, 14, 69, 73, 77, 78"""
    pair = Pair(t)
    a, b, d, f = pair.a, pair.b, t.host("d"), t.host("f")
    port = free_port()
    pair.config(a, more=f"[listen]\naddress = 127.0.0.1:{port}\n")
    for host in (d, f):
        host.trust(a, address=f"127.0.0.1:{port}")
        a.trust(host)
    (d.home / "run").write_text("")
    (f.home / "state").write_text("")
    source, destination = pair.launch()
    agent = a.start("serve", name="a-agent")
    agent.wait_output("serving with key")
    held = pair.record(a)["socket"]
    monitor = t.dir / "a.qmp"
    source.qmp.close()
    play(
        t,
        a,
        [
            Row("launch", 14, ["--vm", VM, "--peer", "b", "--", *pair.guest("a")], "runs here already", VM, "pid"),
            Row("receive", 14, [VM, "--from", "a"], "waits here already", "on a", "'migrate web1'", b),
            Row("receive", 10, ["web9", "--from", "a", "--", *guest(t)], "there is no VM web9", "a: ", "web9", d),
            Row("receive", 73, ["-q", VM, "--from", "a", "--", *pair.guest("b")], "cannot make folder", f"{d.home}/run", "", d),
            Row("adopt", 14, [VM, "--qmp", monitor], "was to come here", "from a", "look whether it runs there", b),
            Row("adopt", 73, ["web9", "--qmp", monitor], "cannot make folder", f"{f.home}/state", "Not a directory", f),
            Row("serve", 69, [], "another 'serve' runs", str(a.home), "end it first"),
        ],
    )
    with socket.socket(socket.AF_UNIX) as busy:
        busy.connect(held)
        play(
            t,
            a,
            [
                Row("verify", 69, [VM], "does not answer", held, "no other client"),
                Row("adopt", 69, ["web9", "--qmp", held], "", held, "no other client is at that socket, and try again"),
            ],
        )
    for path, row in (
        (a.home / "config/identity.key", Row("migrate", 78, [VM], "no identity yet", f"{a.home}/config", "identity init")),
        (a.home / "config/trust.d/b.json", Row("migrate", 77, [VM], "no trust entry b", "b", "trust add")),
        (a.home / "state/agreements/web1.json", Row("verify", 78, [VM], "no agreement", "agreements/web1.json", "launch")),
    ):
        away = path.with_suffix(".away")
        path.rename(away)
        try:
            play(t, a, [row])
        finally:
            away.rename(path)
    end_qemu(destination)
    play(t, a, [Row("migrate", 13, [VM], "web1 was not moved", "to b", "runs on here")])
    agent.signal(signal.SIGTERM)
    agent.wait(20)
    source.process.kill()
    pair.config(a, deny="smap")
    again = ["--vm", VM, "--peer", "b", "--", *pair.guest("a")]
    lines = [line for line in said(a.run(*again, check=12)) if "warning" not in line]
    check_in("smap is gone on a (policy)", lines[0], "which feature, where and why")
    check_in("agree anew, with --renegotiate", lines[-1], "what to do")
    done = a.run("agreement", "check", VM, check=12)
    check_in("smap is gone on a (policy)", done.stdout, "which feature, where and why")
    check_in("--renegotiate", done.stderr, "what to do")
    (a.home / "config" / "config.ini").write_text("[policy]\nforbid = smap\n")
    play(
        t,
        a,
        [
            Row("agreement", 78, ["check", VM], "unknown key 'forbid'", "config.ini: line 2", "[policy]"),
            Row("verify", 14, [VM], "does not run", "here", "launch it again"),
            Row("migrate", 14, [VM], VM, "here", "launch"),
        ],
    )


@test(timeout=60)
def no_agreement_is_possible(t):
    """what one host requires the other denies: 10, which says which feature, who, why, and what to change"""
    pair = Pair(t, deny_b="smap")
    pair.config(pair.a, more="[policy]\nrequire = smap\n")
    listener = pair.listen("--dry-run")
    connector = pair.connect("--dry-run")
    text = pair.refused(connector, 10, "smap is required by the site policy of a", "cannot be had on b (policy)")
    listener.wait_output(f"a gave up: {text.partition(': ')[2]}")  # it waits for another one
    listener.signal(signal.SIGINT)
    listener.expect_status(130)


@test()
def each_is_provoked(t):
    """every status of status.h, in its comment's words in the manual page; every command: by a row here, or elsewhere by name"""
    header = (TOP / "src/base/status.h").read_text()
    known = {int(number) for number in re.findall(r"^    STATUS_\w+ = (\d+)", header, re.M)}
    own = Path(__file__).read_text()
    table = {(command, int(status)) for command, status in re.findall(r'Row\(\s*"(\w+)", (\d+),', own)}
    table |= {("launch", 10), ("launch", 12), ("agreement", 12), ("launch", 130), ("receive", 130)}  # without a Row
    wanted = {(command, status) for command, statuses in CAN_END_WITH.items() for status in statuses}
    check_equal(sorted(wanted - table - set(ELSEWHERE)), [], "statuses that nothing provokes")
    check_equal(sorted((table | set(ELSEWHERE)) - wanted), [], "statuses that are provoked, and that no command can end with")
    check_equal(sorted({status for _, status in wanted} | {0}), sorted(known), "statuses of status.h")
    for (_, status), name in ELSEWHERE.items():
        check_in(name, REGISTERED, "tests")
        check(re.search(rf"\b{status}\b", inspect.getsource(REGISTERED[name].function)), f"{name} has no {status}")
    synopsis = (TOP / "src/cli/synopsis.def").read_text()
    check_equal(sorted(re.findall(r"^COMMAND\((\w+)", synopsis, re.M)), sorted(CAN_END_WITH), "commands")
    page = (TOP / "man/qemu-migrate-launch.1.pod").read_text()
    told = re.findall(r"^=item B<(\d+)>$", page[page.index("=head1 EXIT STATUS") :], re.M)
    check_equal(sorted(map(int, told)), sorted(known), "EXIT STATUS of the manual page")
