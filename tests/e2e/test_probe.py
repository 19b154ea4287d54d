# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be examined, and files that are not as they should be: one clear line, the right status, nothing left."""
import base64
import json
import os
import shutil
import signal
import stat
import time

from lib.harness import check, check_equal, check_in, free_port, test, wait_until
from lib.pair import VM, Pair, guest_args, said


def host_with_identity(t, name="a"):
    """A host that can sign."""
    host = t.host(name)
    host.identity_pin()
    host.write_config(f"[host]\nname = {name}\n")
    return host


def script(t, name, text):
    """An executable of that text."""
    path = t.dir / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def is_refused(t, qemu, *words, status=78, timeout=30, accel="tcg", run=None):
    """launch and profile with this QEMU: the status, one line with the words, no child left behind."""
    host = host_with_identity(t)
    peer = host_with_identity(t, "b")
    host.trust(peer, address=f"127.0.0.1:{free_port()}")
    guest = [qemu, "-machine", f"q35,accel={accel}", "-m", "16", "-nodefaults", "-display", "none"]
    for argv in (
        ("--vm", VM, "--peer", "b", "--timeout", "5", "--", *guest),
        ("profile", "--qemu", qemu, "--accel", accel),
    ):
        whole = [*(run or []), *host.argv(*argv)]
        result = t.run(*whole, timeout=timeout)
        check_equal(result.returncode, status, f"status of {argv[0]}, which said {result.stderr!r}")
        lines = said(result)
        check_equal(len(lines), 1, f"lines of {argv[0]}: {lines}")
        for word in words:
            check_in(word, lines[0], f"what {argv[0]} says")
        check_equal(result.stdout, "", f"standard output of {argv[0]}")
        wait_until(lambda: not t.alive(), 3, f"end of the processes that {argv[0]} started")
    check(not (host.home / "state" / "vms" / f"{VM}.json").exists(), "it left a record")


@test()
def missing_by_path(t):
    """a QEMU binary that is not there: 78"""
    is_refused(t, t.dir / "no-such-qemu", "no-such-qemu")


@test()
def missing_in_path(t):
    """a QEMU name that PATH does not have: 78"""
    is_refused(t, "qemu-system-x86_64-nowhere", "qemu-system-x86_64-nowhere")


@test()
def not_executable(t):
    """a file that cannot be executed: 78"""
    path = t.dir / "qemu-file"
    path.write_text("no program")
    is_refused(t, path, "qemu-file")


@test()
def not_a_program(t):
    """an executable file that is no program: 78"""
    is_refused(t, script(t, "qemu-nothing", "\0\1\2\3 no program\n"), "qemu-nothing")


@test()
def dies_at_once(t):
    """a QEMU that ends with a message: 78, and its last words"""
    path = script(t, "qemu-dies", "#!/bin/sh\necho first >&2\necho cannot load libfoo.so >&2\nexit 127\n")
    is_refused(t, path, "qemu-dies", "cannot load libfoo.so", "127")


@test()
def dies_by_a_signal(t):
    """a QEMU that is killed: 78, and by what"""
    is_refused(t, script(t, "qemu-aborts", "#!/bin/sh\nkill -ABRT $$\n"), "qemu-aborts")


@test()
def talks_nonsense(t):
    """a program that answers something that is not QMP: 78 or 76"""
    text = "#!/bin/sh\nfor w; do case $w in socket*) fd=${w##*fd=}; esac; done\neval \"echo '{\\\"no\\\": 1}' >&$fd\"\nsleep 100\n"
    is_refused(t, script(t, "qemu-nonsense", text), "qemu-nonsense")


@test(timeout=90)
def hangs(t):
    """a QEMU that says nothing: 78 within bounds, and it is ended with all that it started"""
    began = time.monotonic()
    is_refused(t, script(t, "qemu-hangs", "#!/bin/sh\nsleep 1000\n"), "qemu-hangs", "does not answer", timeout=50)
    check(time.monotonic() - began < 80, "it took too long")


@test()
def hangs_and_is_interrupted(t):
    """Ctrl-C while a QEMU is examined that hangs: it ends soon, with 130, and nothing is left"""
    host = host_with_identity(t)
    host.trust(host_with_identity(t, "b"), address="127.0.0.1:1")
    path = script(t, "qemu-hangs", "#!/bin/sh\nsleep 1000\n")
    process = host.start("--vm", VM, "--peer", "b", "--", path, "-accel", "tcg")
    wait_until(lambda: any("sleep" in line for _, line in t.alive()), 10, "the hanging QEMU")
    process.signal(signal.SIGINT)
    process.expect_status(130, 8)
    wait_until(lambda: not t.alive(), 5, "end of its children")


@test()
def dies_at_the_second_start(t):
    """a QEMU that lists its machines and dies when the CPU is asked about: 78 on both sides, nobody becomes QEMU"""
    path = script(
        t, "qemu-second",
        f'#!/bin/sh\ncase "$*" in *"-machine none"*) exec {t.qemu_path} "$@";; esac\necho no such CPU >&2\nexit 3\n',
    )
    pair = Pair(t, qemu_b=path)
    listener = pair.listen("--timeout", "9")
    connector = pair.connect("--timeout", "20")
    pair.refused(connector, 78, "no such CPU", "b")
    listener.expect_status(78, 20)
    check_in("no such CPU", listener.stderr(), "what the listener says")
    check_equal(t.alive(), [], "processes left")


@test()
def another_target(t):
    """a QEMU of another architecture: 78 names it"""
    other = shutil.which("qemu-system-aarch64") or shutil.which("qemu-system-i386")
    if other:
        is_refused(t, other, "x86_64")
        return
    # None is installed: this one, whose answer to query-target is changed on the way.
    text = f"""#!/usr/bin/env python3
import os, re, socket, subprocess, sys
at = next(i for i, w in enumerate(sys.argv) if w.startswith("socket,id=qml,fd="))
ours = socket.socket(fileno=int(sys.argv[at].rsplit("=", 1)[1]))
mine, theirs = socket.socketpair()
argv = [{t.qemu_path!r}, *sys.argv[1:]]
argv[at] = f"socket,id=qml,fd={{theirs.fileno()}}"
child = subprocess.Popen(argv, pass_fds=[theirs.fileno()])
theirs.close()
if os.fork() == 0:
    while data := ours.recv(65536):
        mine.sendall(data)
    os._exit(0)
while data := mine.recv(1 << 20):
    ours.sendall(data.replace(b'"x86_64"', b'"sparc64"'))
"""
    is_refused(t, script(t, "qemu-sparc", text), "sparc64")


@test()
def kvm_absent(t):
    """KVM is asked for and there is no /dev/kvm: 78 says so"""
    if not os.path.exists("/dev/kvm"):
        is_refused(t, t.qemu_path, "/dev/kvm", accel="kvm")
        return
    probe = t.run("unshare", "-m", "true")
    if probe.returncode:
        t.skip(f"unshare -m: {probe.stderr.strip()}")
    # A /dev with everything but kvm.
    hide = (
        "mkdir -p {0} && mount -t tmpfs none {0} && for f in null zero full random urandom tty; do touch {0}/$f && "
        'mount --bind /dev/$f {0}/$f; done && mkdir {0}/shm && mount --move {0} /dev && exec "$@"'
    ).format(t.dir / "dev")
    is_refused(t, t.qemu_path, "/dev/kvm", accel="kvm", run=["unshare", "-m", "sh", "-c", hide, "sh"])


@test()
def kvm_that_cannot_be_opened(t):
    """the first of accel=kvm:tcg that can be used is used, as QEMU does"""
    probe = t.run("unshare", "-m", "true")
    if probe.returncode:
        t.skip(f"unshare -m: {probe.stderr.strip()}")
    pair = Pair(t)
    guest = [t.qemu_path, "-machine", "q35,accel=kvm:tcg", "-m", "16", "-nodefaults", "-display", "none"]
    listener = pair.listen("--dry-run", "--json", "--timeout", "20")
    argv = pair.a.argv("--vm", VM, "--peer", "b", "--dry-run", "--json", "--", *guest)
    result = t.run("unshare", "-m", "sh", "-c", 'mount --bind /dev/null /dev/kvm 2>/dev/null; exec "$@"', "sh", *argv)
    # /dev/null opens, and is no KVM: QEMU says so.  Without /dev/kvm at all it is TCG.
    if os.path.exists("/dev/kvm"):
        check_equal(result.returncode, 10, f"status: {result.stderr}")
        listener.kill()
    else:
        check_equal(result.returncode, 0, f"status: {result.stderr}")
        check_in("accel=tcg", " ".join(json.loads(result.stdout)["argv"]), "the command")


@test()
def replaced_after_the_probe(t):
    """the QEMU binary is replaced between probe and exec: refused with 78, nothing runs"""
    text = f'#!/bin/sh\nexec {t.qemu_path} "$@"\n'
    copy = script(t, "qemu-copy", text)
    pair = Pair(t)
    pair.qemu["b"] = str(copy)
    listener = pair.listen("--timeout", "30")
    listener.wait_output("waiting for a peer")  # it has been opened
    os.replace(script(t, "qemu-new", text), copy)
    pair.connect("--dry-run", "--timeout", "20").expect_status(0)
    pair.refused(listener, 78, "qemu-copy", "not the QEMU that was examined")
    check_equal(t.alive(), [], "processes left")


# profile


def payload_of(text):
    """The payload of a statement."""
    data = json.loads(text)["payload"]
    return json.loads(base64.urlsafe_b64decode(data + "=" * (-len(data) % 4)))


@test()
def profile_is_signed(t):
    """profile prints a signed statement; --unsigned its payload alone; -o writes a file"""
    host = host_with_identity(t)
    arguments = ("profile", "--qemu", t.qemu_path, "--accel", "tcg", "--machine", "pc-q35-7.2")
    signed = host.run(*arguments, check=0)
    check_equal(sorted(json.loads(signed.stdout)), ["payload", "protected", "signature"], "members")
    payload = payload_of(signed.stdout)
    check_equal((payload["probe"]["machine"], payload["probe"]["accel"]), ("pc-q35-7.2", "tcg"), "probe")
    check_in("avx2", payload["cpu"]["available"], "features")
    check_equal(signed.stdout.count("\n"), 1, "lines")
    plain = json.loads(host.run(*arguments, "--unsigned", check=0).stdout)
    for volatile in ("issued", "expires", "serial"):
        payload.pop(volatile), plain.pop(volatile)
    payload.pop("key")
    check_equal(plain, payload, "the unsigned profile")
    written = host.run(*arguments, "-o", "out.profile", check=0)
    check_equal((written.stdout, written.stderr), ("", ""), "output with -o")
    check_equal(payload_of((t.dir / "out.profile").read_text())["cpu"], payload["cpu"], "the file")
    check_equal(host.run(*arguments, "-o", "no/such/folder/x").returncode, 73, "a folder that is not there")
    check_equal(host.run(*arguments, "--machine", "pc-q35-99.9").returncode, 78, "a machine type that is not there")


@test()
def profile_unsigned_needs_no_identity(t):
    """--unsigned works without an identity and leaves nothing behind; signed does not: 78 with what to do"""
    host = t.host("a")
    host.run("profile", "--qemu", t.qemu_path, "--accel", "tcg", "--unsigned", check=0)
    check_equal(list(host.home.iterdir()), [], "files")
    refused = host.run("profile", "--qemu", t.qemu_path, "--accel", "tcg", check=78)
    check_in("identity init", refused.stderr, "what to do")
    check_equal(len(said(refused)), 1, "lines")


@test()
def profile_into_what_is_there(t):
    """-o writes into a FIFO, a device and through a symbolic link instead of replacing them; a full device is 73"""
    host = t.host("a")
    words = ["profile", "--qemu", t.qemu_path, "--accel", "tcg", "--unsigned", "-o"]
    fifo = t.dir / "fifo"
    os.mkfifo(fifo)
    reader = t.start("cat", str(fifo), name="cat")
    host.run(*words, fifo, check=0)
    reader.expect_status(0, 10)
    check(json.loads(reader.stdout())["cpu"], "the profile behind the FIFO")
    check(stat.S_ISFIFO(fifo.stat().st_mode), "the FIFO is none any more")
    (t.dir / "link").symlink_to("real")
    refused = host.run(*words, t.dir / "link", check=73)
    check_in("link to nothing", refused.stderr, "what it says")
    (t.dir / "real").write_text("old")
    host.run(*words, t.dir / "link", check=0)
    check((t.dir / "link").is_symlink() and json.loads((t.dir / "real").read_text()), "the link's target")
    full = t.dir / "full"
    os.mknod(full, stat.S_IFCHR | 0o600, os.makedev(1, 7))
    host.run(*words, full, check=73)
    check(stat.S_ISCHR(full.stat().st_mode), "the device is none any more")


@test()
def profile_verify(t):
    """--verify: 0 for a trusted signer, 77 for an unknown or expired one, 65 for tampering, 78 for no file"""
    a, b = host_with_identity(t), host_with_identity(t, "b")
    a.run("profile", "--qemu", t.qemu_path, "--accel", "tcg", "-o", "a.profile", check=0)
    unknown = b.run("profile", "--verify", "a.profile", check=77)
    check_in("not trusted", unknown.stderr, "unknown key")
    check_in(a.identity_pin(), unknown.stderr, "unknown key")
    b.trust(a)
    check_in("signed by a", b.run("profile", "--verify", "a.profile", check=0).stdout, "a good one")
    text = (t.dir / "a.profile").read_text()
    statement = json.loads(text)
    payload = payload_of(text)
    payload["cpu"]["available"].remove("smap")
    data = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    (t.dir / "bad.profile").write_text(json.dumps({**statement, "payload": data}))
    check_in("signature", b.run("profile", "--verify", "bad.profile", check=65).stderr, "tampered")
    (t.dir / "short.profile").write_text(text[:1000])
    b.run("profile", "--verify", "short.profile", check=65)
    (t.dir / "empty.profile").write_text("")
    b.run("profile", "--verify", "empty.profile", check=65)
    check_in("no.profile", b.run("profile", "--verify", "no.profile", check=78).stderr, "no file")
    path = b.home / "config" / "trust.d" / "a.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "expires": 1000}))
    check_in("expired", b.run("profile", "--verify", "a.profile", check=77).stderr, "expired trust")


@test()
def profile_serial(t):
    """the serial stays while nothing changes, and rises with every change"""
    host = host_with_identity(t)

    def serial():
        return payload_of(host.run("profile", "--qemu", t.qemu_path, "--accel", "tcg", check=0).stdout)["serial"]

    first = serial()
    check_equal(serial(), first, "serial without a change")
    for cpu in os.sched_getaffinity(0):  # a CPU tells its own number
        result = t.run("taskset", "-c", cpu, *host.argv("profile", "--qemu", t.qemu_path, "--accel", "tcg"), check=0)
        check_equal(payload_of(result.stdout)["serial"], first, f"serial on CPU {cpu}")
    host.write_config("[host]\nname = a\n[policy]\ndeny = smap\n")
    check_equal(serial(), first + 1, "serial after a change")


# Files of the configuration.


@test()
def identity_that_others_can_read(t):
    """identity.key with mode 0644: 77, the file is named"""
    host = host_with_identity(t)
    (host.home / "config" / "identity.key").chmod(0o644)
    refused = host.run("profile", "--qemu", t.qemu_path, "--accel", "tcg", check=77)
    check_in("identity.key", refused.stderr, "the file")
    check_equal(len(said(refused)), 1, "lines")
    check_equal(host.run("identity", "show").returncode, 77, "status of identity show")


@test()
def identity_that_is_none(t):
    """identity.key that is no key, or another's than the certificate's: 78"""
    host, other = host_with_identity(t), host_with_identity(t, "b")
    key = host.home / "config" / "identity.key"
    kept = key.read_text()
    for text in ("garbage", "", (other.home / "config" / "identity.key").read_text(), kept[:40]):
        key.write_text(text)
        refused = host.run("profile", "--qemu", t.qemu_path, "--accel", "tcg", check=78)
        check_equal(len(said(refused)), 1, "lines")
        check_in("identity", refused.stderr, "the file")
        check("PRIVATE" not in refused.stderr, "the key is shown")


@test()
def config_errors(t):
    """config.ini: unknown section, unknown key, garbage, bad values: 78 with file and line"""
    host = host_with_identity(t)
    rows = (
        ("[host]\nname = a\n\n[nonsense]\nx = 1\n", 5, "nonsense"),
        ("[host]\nname = a\ncolour = red\n", 3, "colour"),
        ("[host]\nname = a\nthis is garbage\n", 3, ""),
        ("[host]\nname = A B\n", 2, "A B"),
        ("[policy]\ndeny = smap, no such feature!\n", 2, "no such feature!"),
        ("[listen]\nmigration-ports = 70000-1\n", 2, "70000-1"),
    )
    for text, line, word in rows:
        host.write_config(text)
        for argv in (("profile", "--qemu", t.qemu_path, "--accel", "tcg"),
                     ("--vm", VM, "--listen", "127.0.0.1:1", "--", t.qemu_path, *guest_args(t, "a"))):
            refused = host.run(*argv, check=78)
            check_equal(len(said(refused)), 1, f"lines: {refused.stderr}")
            check_in(f"line {line}", refused.stderr, f"the line of {text!r}")
            check_in("config.ini", refused.stderr, "the file")
            check_in(word, refused.stderr, "the word")
    (host.home / "config" / "config.ini").write_bytes(b"\x00\xff\x00" * 100)
    host.run("profile", "--qemu", t.qemu_path, "--accel", "tcg", check=78)


@test()
def usage_errors(t):
    """a wrong command line: 64, one line, nothing is started"""
    host = host_with_identity(t)
    guest = guest_args(t, "a")
    for argv in (
        ("--vm", VM, "--", t.qemu_path, *guest),
        ("--vm", VM, "--peer", "b", "--listen", "--", t.qemu_path, *guest),
        ("--vm", "a/b", "--peer", "b", "--", t.qemu_path, *guest),
        ("--vm", VM, "--peer", "b"),
        ("--vm", VM, "--peer", "b", "--"),
        ("--vm", VM, "--peer", "b", "--timeout", "0", "--", t.qemu_path, *guest),
        ("--vm", VM, "--peer", "b", "--cpu-form", "best", "--", t.qemu_path, *guest),
        ("--vm", VM, "--peer", "b", "--require", "b@d", "--", t.qemu_path, *guest),
        ("--vm", VM, "--peer", "b", "--incoming", "--", t.qemu_path, *guest, "-incoming", "defer"),
        ("--vm", VM, "--peer", "b", "--", t.qemu_path, "-machine", "none"),
        ("--vm", VM, "--peer", "b", "--no-such-option", "--", t.qemu_path, *guest),
        ("frobnicate",),
        ("migrate",),
        ("migrate", "no-such-vm"),
        ("trust", "add", "b", "sha256//short"),
        ("profile", "more"),
    ):
        refused = host.run(*argv)
        check_equal(refused.returncode, 64, f"status of {argv}: {refused.stderr}")
        check_equal(len(said(refused)), 1, f"lines of {argv}: {refused.stderr}")
    check_equal(t.alive(), [], "processes left")


@test()
def state_that_cannot_be_written(t):
    """a state folder that is a file: 73, one line, nobody becomes QEMU"""
    pair = Pair(t)
    (pair.a.home / "state").write_text("in the way")
    refused = pair.a.run("--vm", VM, "--peer", "b", "--", *pair.guest("a"), check=73)
    check_equal(len(said(refused)), 1, "lines")


@test()
def agreement_that_cannot_be_stored(t):
    """the destination cannot write the agreement: 73 there and at the source, nobody becomes QEMU"""
    pair = Pair(t)
    (pair.b.home / "state").mkdir(mode=0o700)
    (pair.b.home / "state" / "agreements").write_text("in the way")
    listener = pair.listen("--timeout", "9")
    connector = pair.connect("--timeout", "20")
    pair.refused(connector, 73, "b")
    listener.expect_status(73, 20)
    check_equal(t.alive(), [], "processes left")


@test()
def wrapper_script(t):
    """QEMU behind a script of the user's: examined and exec'd as such, same pid"""
    path = script(t, "my-qemu", f'#!/bin/sh\nexec {t.qemu_path} "$@"\n')
    pair = Pair(t, qemu_a=str(path))
    a, b = pair.launch()
    check(os.readlink(f"/proc/{a.process.pid}/exe").endswith("qemu-system-x86_64"), "not QEMU")
    check_equal(a.features()["smap"], b.features()["smap"], "smap")
