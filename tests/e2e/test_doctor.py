# SPDX-License-Identifier: GPL-3.0-or-later
"""doctor: each finding provoked, named with its remedy, and gone when that is followed."""
import base64
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import time

from lib.harness import check, check_equal, check_in, free_port, test, wait_until
from lib.pair import VM, Launched, Pair
from lib.unprivileged import USER
from test_guest import helper

KVM_DEVICE = (10, 232)  # Documentation/admin-guide/devices.txt


def host(t, name="a", more="", qemu=None):
    """A host with an identity, on ports that nobody has."""
    made = t.host(name)
    write(t, made, more, qemu)
    made.identity_pin()
    return made


def write(t, made, more="", qemu=None):
    """Its configuration."""
    made.port = getattr(made, "port", None) or free_port()
    made.more_port = getattr(made, "more_port", None) or free_port()
    listen = f"[listen]\naddress = 127.0.0.1:{made.port}\nmigration-ports = {made.more_port}-{made.more_port}\n"
    made.write_config(f"[host]\nname = {made.name}\n{listen}[qemu]\nbinary = {qemu or t.qemu_path}\n{more}")


def judge(result):
    """The document, with the exit status that belongs to it."""
    document = json.loads(result.stdout)
    of = {word: [one for one in document["findings"] if one["severity"] == word] for word in ("problem", "warning")}
    check_equal(document["problems"], len(of["problem"]), "problems")
    check_equal(document["warnings"], len(of["warning"]), "warnings")
    check_equal(result.returncode, 78 if of["problem"] else 0, f"exit status with {of['problem']}")
    for one in of["problem"] + of["warning"]:
        check(one["remedy"], f"no remedy for {one}")
    return document["findings"]


def look(made, **options):
    """All findings on a host."""
    return judge(made.run("doctor", "--json", timeout=120, **options))


def find(findings, which, subject=None, severity=None):
    """Those of one check."""
    return [
        one
        for one in findings
        if one["check"] == which
        and (subject is None or subject in one["subject"])
        and (one["severity"] == severity if severity else one["severity"] != "ok")
    ]


def one(findings, which, subject, severity, words):
    """The one finding of that check about the subject, which says that."""
    found = find(findings, which, subject)
    check_equal([entry["severity"] for entry in found], [severity], f"what {which} finds about {subject}: {found}")
    check_in(words, found[0]["what"], f"what {which} says of {subject}")
    return found[0]


def gone(made, which, subject):
    """Nothing is found any more."""
    check_equal(find(look(made), which, subject), [], f"what {which} still finds about {subject}")


def follow(t, finding):
    """Says the command to a shell."""
    check(finding["command"], f"no command in {finding}")
    path = f"{t.program.parent}:{os.environ['PATH']}"
    t.run("sh", "-ec", finding["command"], env={"PATH": path}, check=0)


def mend(t, made, which, subject, severity, words):
    """The finding is there, and gone when its command was said."""
    follow(t, one(look(made), which, subject, severity, words))
    gone(made, which, subject)


def tree(folder):
    """Everything below it, with content and times."""
    return {
        path.relative_to(folder): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


@test(timeout=200)
def all_is_well(t):
    """a host without problems: status 0, few lines of 80 columns, nothing on disk is changed; --quiet, --color, usage"""
    a = host(t)
    before = tree(a.home)
    findings = look(a)
    check_equal([entry for entry in findings if entry["severity"] == "problem"], [], "problems")
    check_in("config", [entry["check"] for entry in findings], "the checks")

    said = a.run("doctor", timeout=120, check=0, env={"NO_COLOR": None})
    check_equal(tree(a.home), before, "the home after doctor")
    warned = re.findall(r"^warning .*", said.stdout, re.M)
    check_equal("nothing on this host gets in the way" in said.stdout, not warned, f"the last line, with {warned}")
    for line in said.stdout.splitlines():
        check(len(line) <= 80 or line.startswith("         $ "), f"a line of {len(line)} columns: {line}")
        check(re.match(r"(problem  |warning  |note     |         (   )?)\S|nothing on", line), f"not aligned: {line!r}")
    check("ok  " not in said.stdout and "\033" not in said.stdout, "without -v and a terminal")

    quiet = a.run("doctor", "-q", timeout=120, check=0).stdout
    check("note" not in quiet, f"-q has notes: {quiet}")
    loud = a.run("doctor", "-v", "--color", "always", timeout=120, check=0).stdout
    check_in("ok       config.ini: read", loud, "what -v prints")
    check_equal(loud.count("\033[33mwarning\033[0m"), len(re.findall(r"^\S*warning", loud, re.M)), "yellow words")
    for words in (("doctor", "now"), ("doctor", "--fix"), ("doctor", "--", "x")):
        a.run(*words, check=64)


@test(timeout=200)
def identity_and_modes(t):
    "no identity, no certificate, and whatever others can read or change: each with the command that mends it"
    a = t.host("a")
    write(t, a)
    mend(t, a, "identity", "identity", "problem", "no identity yet")
    (a.home / "config" / "identity.crt").unlink()
    mend(t, a, "identity", "identity", "problem", "no certificate yet")

    b = t.host("b")
    a.trust(b, address="127.0.0.1:1")
    for folder in ("state", "state/agreements", "run"):
        (a.home / folder).mkdir(mode=0o700)
    wrong = {
        "config/identity.key": 0o640, "config/identity.crt": 0o666, "config/config.ini": 0o664, "config/trust.d": 0o777,
        "config": 0o775, "state": 0o707, "state/agreements": 0o720, "run": 0o777,
    }  # fmt: skip
    right = {name: (a.home / name).stat().st_mode & 0o7777 for name in wrong}
    for name, mode in wrong.items():
        (a.home / name).chmod(mode)
    findings = look(a)
    for name in wrong:
        found = [entry for entry in find(findings, "files") if entry["subject"] == str(a.home / name)]
        check_equal([entry["severity"] for entry in found], ["problem"], f"findings about {name}")
        follow(t, found[0])
    gone(a, "files", None)
    for name, mode in right.items():
        now = (a.home / name).stat().st_mode & 0o7777
        check(now & 0o022 == 0 and now & 0o700 == mode & 0o700, f"{name} has mode {now:o}, and had {mode:o}")
    (a.home / "config" / "trust.d" / "b.json").chmod(0o666)
    mend(t, a, "trust", "b", "problem", "lets others change")

    if os.geteuid() == 0:
        os.chown(a.home / "state", USER, USER)
        mend(t, a, "files", "state", "problem", f"belongs to user {USER}")
        a.home.chmod(0o777)
        mend(t, a, "files", str(a.home), "warning", "replace")


@test(timeout=200)
def configuration_and_qemu(t):
    "a line of config.ini that is wrong; a QEMU that is not there, is none, or runs no proof"
    a = host(t)
    a.write_config("[host]\nname = a\nnmae = b\n")
    findings = look(a)
    check_in("line 3", one(findings, "config", "config.ini", "problem", "nmae")["what"], "where it is")
    check_equal(find(findings, "port"), [], "what is said of the port when nobody knows which")
    write(t, a)
    gone(a, "config", "config.ini")

    write(t, a, qemu="/nowhere/qemu-system-x86_64")
    one(look(a), "qemu", "/nowhere/qemu-system-x86_64", "problem", "no such executable")
    broken = t.dir / "broken"
    broken.write_text("#!/bin/sh\necho I am no QEMU >&2\nexit 3\n")
    broken.chmod(0o755)
    write(t, a, qemu=broken)
    check_in("[qemu] binary", one(look(a), "qemu", str(broken), "problem", "I am no QEMU")["remedy"], "the remedy")

    # It answers, and refuses to run the guest.
    half = t.dir / "half"
    no_guests = 'case "$*" in *isa-debug-exit*) echo no guests today >&2; exit 1 ;; esac'
    half.write_text(f'#!/bin/sh\n{no_guests}\nexec {t.qemu_path} "$@"\n')
    half.chmod(0o755)
    write(t, a, qemu=half)
    found = find(look(a), "qemu", str(half), "problem")
    check(found and all("no guests today" in entry["what"] for entry in found), f"a QEMU that runs no proof: {found}")
    write(t, a)
    gone(a, "qemu", None)


@test(timeout=200)
def two_qemus(t):
    "binaries of two versions: which counts when nobody says"
    a = host(t, qemu=f"{t.qemu_path}\nbinary = {t.second_qemu_path}")
    found = one(look(a), "qemu", "QEMU", "note", "differ")
    check_in(f"the first, {t.qemu_path}", found["what"], "which it is")


@test(timeout=200)
def trust_entries(t):
    "entries that expired, expire soon, are damaged, or share a pin: each named, its command followed"
    a, b, c = host(t), t.host("b"), t.host("c")
    soon = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 10 * 86400))
    a.run("trust", "add", "b", b.identity_pin(), "--address", "127.0.0.1:1", "--expires", "2020-02-29", check=0)
    a.run("trust", "add", "c", c.identity_pin(), "--address", "127.0.0.1:1", "--expires", soon, check=0)
    findings = look(a)
    follow(t, one(findings, "trust", "b", "warning", "its last day was 2020-02-29"))
    follow(t, one(findings, "trust", "c", "warning", f"its last day is {soon}"))
    gone(a, "trust", None)

    folder = a.home / "config" / "trust.d"
    (folder / "twin.json").write_text(json.dumps({"version": 1, "name": "twin", "pins": [b.identity_pin()]}))
    (folder / "broken.json").write_text("{")
    for path in folder.iterdir():
        path.chmod(0o600)
    findings = look(a)
    follow(t, one(findings, "trust", "twin", "problem", "'b' and 'twin' have the same pin"))
    follow(t, one(findings, "trust", "broken", "problem", "broken.json"))
    gone(a, "trust", None)
    a.run("trust", "list", check=0)


@test(timeout=200)
def ports(t):
    "the agent's port taken by somebody, by the agent; an address that is not here; no migration port left"
    a = host(t)
    note = one(look(a), "port", str(a.port), "note", "no agent listens")
    check_in("serve", note["command"], "the command")

    with socket.socket() as taken, socket.socket() as more:
        taken.bind(("127.0.0.1", a.port))
        taken.listen()
        more.bind(("0.0.0.0", a.more_port))
        more.listen()
        findings = look(a)
        held = one(findings, "port", str(a.port), "problem", "is taken by ")
        check_in(f"(pid {os.getpid()})", held["what"], "who has the port")
        one(findings, "migration-ports", str(a.more_port), "problem", "all are taken")
    findings = look(a)
    check_equal(find(findings, "migration-ports"), [], "the migration ports that are free again")
    one(findings, "port", str(a.port), "note", "no agent listens")

    words = shlex.split(note["command"])
    check_equal(words[0], "qemu-migrate-launch", "the program in the command")
    agent = t.start(t.program, *words[1:], name="agent")
    agent.wait_output("serving with key", 30)
    findings = look(a)
    check_equal(find(findings, "port"), [], "the port that the agent has")
    check_in(f"the agent (pid {agent.pid})", find(findings, "port", severity="ok")[0]["what"], "who listens")

    b = host(t, "b")
    b.write_config("[listen]\naddress = 192.0.2.1:16515\n")  # RFC 5737
    one(look(b), "port", "16515", "problem", "192.0.2.1:16515")


@test(timeout=200)
def peers(t):
    "who answers as itself, who is somebody else, who does not trust this host, and who is not there"
    a, b, c = host(t), host(t, "b"), host(t, "c")
    a.trust(b, address=f"127.0.0.1:{b.port}")
    away = one(look(a), "peers", "b", "warning", "127.0.0.1")
    check_in("qemu-migrate-launch serve", away["remedy"], "the remedy")

    def serve(made):
        made.start("serve").wait_output("serving with key", 30)

    serve(b)
    stranger = one(look(a), "peers", "b", "problem", "does not trust")
    check_in("identity show", stranger["remedy"], "the remedy")
    b.trust(a)
    wait_until(lambda: not find(look(a), "peers", "b"), 60, "an answer of b")
    check_in("as itself", find(look(a), "peers", "b", "ok")[0]["what"], "what is said of b")

    serve(c)
    c.trust(a)
    a.run("trust", "add", "b", b.identity_pin(), "--address", f"127.0.0.1:{c.port}", check=0)
    one(look(a), "peers", "b", "problem", "b")
    check(not (c.home / "state" / "vms").exists() or not list((c.home / "state" / "vms").iterdir()), "asking left files")


def sign_profile(t, made, path, ahead):
    """A profile of the host, signed by its key, of so many seconds ahead."""
    envelope = json.loads(made.run("profile", "--accel", "tcg", check=0, timeout=60).stdout)
    payload = json.loads(base64.urlsafe_b64decode(envelope["payload"] + "=="))
    payload["issued"] += ahead
    payload["expires"] += ahead

    def encode(data):
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    text = encode(json.dumps(payload, sort_keys=True, separators=(",", ":")).encode())
    (t.dir / "signed").write_text(f"{envelope['protected']}.{text}")
    key = made.home / "config" / "identity.key"
    subprocess.run(
        ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", t.dir / "signed", "-out", t.dir / "signature"],
        check=True, timeout=30,
    )  # fmt: skip
    signature = encode((t.dir / "signature").read_bytes())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(json.dumps({**envelope, "payload": text, "signature": signature}))
    path.chmod(0o600)


@test(timeout=200)
def clock(t):
    "a peer's profile was signed after what the clock here says"
    a, b = host(t), host(t, "b")
    stored = a.home / "state" / "profiles" / "b.json"
    sign_profile(t, b, stored, 0)
    check_equal(find(look(a), "clock", severity="problem"), [], "the clock after a profile of now")
    sign_profile(t, b, stored, 3600)
    found = find(look(a), "clock", severity="problem")
    check_in("the profile of b", found[0]["what"] if found else "", "what is said of the clock")
    check_in("timedatectl", found[0]["command"], "the command")
    stored.unlink()
    check_equal(find(look(a), "clock", severity="problem"), [], "the clock without that profile")


@test(timeout=300)
def agreements(t):
    "an agreement that site policy is against by now, of another CPU, or damaged; and the record of a VM"
    pair = Pair(t)
    for process in pair.dry_run():
        check_equal(process.poll(), 0, f"status of {process.name}")
    a = pair.a
    check_equal(find(look(a), "agreements"), [], "what is found about an agreement that holds")

    features = json.loads(a.run("agreement", "show", VM, "--json", check=0).stdout)["baseline"]["features"]
    check_in("smap", features, "the agreed features")
    pair.config(a, deny="smap, avx512bw", more="require = avx512f\n")
    found = one(look(a), "agreements", VM, "problem", "it denies smap it requires avx512f")
    check_in(f"agreement check {VM}", found["command"], "the command")
    pair.config(a)
    gone(a, "agreements", VM)

    # It held with another kernel, as far as the notes go.
    a.run("agreement", "check", VM, check=0, timeout=60)
    facts = a.home / "state" / "agreements" / f"{VM}.facts"
    then = json.loads(facts.read_text())
    release, then["kernel"]["release"] = then["kernel"]["release"], "5.4.0-old"
    facts.write_text(json.dumps(then))
    mend(t, a, "agreements", VM, "note", f"kernel 5.4.0-old -> {release}")

    (a.home / "state" / "agreements" / f"{VM}.json").write_text('{"version":1}')
    mend(t, a, "agreements", VM, "problem", "cannot be used")
    (a.home / "state" / "vms").mkdir(exist_ok=True)
    (a.home / "state" / "vms" / f"{VM}.json").write_text("{")
    mend(t, a, "vms", VM, "problem", "cannot be read")


def change(pair, made, **members):
    """The VM's record with other members; returns the old text."""
    path = made.home / "state" / "vms" / f"{VM}.json"
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), **members}))
    return before


@test(timeout=300)
def decisions(t):
    "a destination that ended, a migration that nobody goes on with, an old QEMU, sockets of nobody"
    pair = Pair(t)
    source, destination = pair.launch()
    a, b = pair.a, pair.b
    check_equal(find(look(b), "vms"), [], "what is found while QEMU waits")
    destination.process.kill()
    found = one(look(b), "vms", VM, "problem", "a QEMU waited here for web1")
    check_in("--renegotiate --here", found["remedy"], "the remedy")
    agreement = b.home / "state" / "agreements" / f"{VM}.json"
    words = ["--vm", VM, "--agreement", agreement, "--incoming", "--listen", f"127.0.0.1:{pair.port}"]
    Launched(b, b.start(*words, "--", *pair.guest("b"), name="b-again"), "b")
    gone(b, "vms", VM)

    path = a.home / "state" / "vms" / f"{VM}.json"
    before = change(pair, a, place="moving")
    found = one(look(a), "vms", VM, "problem", "nothing here is at work on it")
    check_equal(found["command"], f"qemu-migrate-launch --home {a.home} migrate {VM}", "the command")
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        check_equal(find(look(a), "vms"), [], "what is found while somebody is at work on it")

    path.write_text(before)
    path.rename(t.dir / "kept.json")
    one(look(a), "vms", VM, "problem", "there is no record of it")
    (t.dir / "kept.json").rename(path)
    change(pair, a, place="moved")
    mend(t, a, "vms", VM, "warning", f"its old QEMU (pid {source.process.pid}) is still here")
    source.process.wait(30)

    for name in (a.home / "run" / VM).iterdir():
        name.unlink()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(a.home / "run" / VM / "left"))
    check_equal(find(look(a), "vms"), [], "sockets of a VM that has a record")
    path.unlink()
    mend(t, a, "vms", VM, "note", "sockets are left of it")


@test(timeout=200)
def kvm_rights(t):
    "a user who may not use /dev/kvm, and may once its group is one of the user's"
    t.need_kvm()
    t.dir.parent.chmod(0o711)
    program = t.dir / "qemu-migrate-launch"
    shutil.copy(t.program, program)
    device = t.dir / "kvm"
    try:
        os.mknod(device, 0o660 | stat.S_IFCHR, os.makedev(*KVM_DEVICE))
        os.chown(device, 0, 1)  # daemon
        os.chmod(device, 0o660)
        os.chown(t.dir, USER, USER)
    except PermissionError:
        t.skip("only root can make a device")
    home = t.dir / "u"
    home.mkdir()
    os.chown(home, USER, USER)
    closed = t.dir / "closed"
    closed.touch(mode=0)
    begin = 'mount --bind "$1" /dev/kvm && { test ! -e /dev/net/tun || mount --bind "$2" /dev/net/tun; }'
    begin += ' && shift 2 && exec "$@"'
    enter = ["unshare", "--mount", "sh", "-c", begin, "sh", device, closed, "setpriv", f"--reuid={USER}", f"--regid={USER}"]

    def user(*groups):
        words = [*enter, f"--groups={','.join(groups)}" if groups else "--clear-groups"]
        if t.run(*words, "test", "-c", "/dev/kvm").returncode:
            t.skip("no mount namespaces here, or no other users")
        return judge(t.run(*words, program, "--home", home, "doctor", "--json", timeout=120))

    found = one(user(), "kvm", "/dev/kvm", "problem", "this user may not use KVM: Permission denied")
    check_equal(found["command"], "usermod -aG daemon nobody", "the command")
    findings = user("1")
    if os.path.exists("/dev/net/tun"):
        one(findings, "devices", "tun", "note", "Permission denied")
    check_equal(find(findings, "kvm"), [], "what is found with the group")
    check_equal([entry["severity"] for entry in find(findings, "kvm", severity="ok")], ["ok"], "with the group")


@test(timeout=200)
def masks(t):
    "whether KVM honours masks is said as it is: as the built-in guest sees it"
    t.need_kvm()
    flags = re.search(r"^flags.*", open("/proc/cpuinfo", encoding="ascii").read(), re.M)[0].split()
    if "avx2" not in flags:
        t.skip("no avx2 to switch off")
    a = host(t)
    table = t.run(helper(t), "json", t.qemu_path, "kvm", "q35", "qemu64,avx2=off", check=0).stdout
    (t.dir / "table").write_text(table)
    sees = json.loads(t.run(helper(t), "shows", t.dir / "table", check=0).stdout)["avx2"]
    found = find(look(a), "masks", "masks", "warning" if sees else "ok")
    check_equal(len(found), 1, f"what is said of masks, when a guest sees avx2: {sees}")
    check_equal(" avx2 " in found[0]["what"], sees, f"avx2 in {found[0]['what']}")


@test(timeout=200)
def small_limits(t):
    "few open files, and a state folder that nothing can be written to"
    a = host(t)
    words = ["sh", "-c", 'ulimit -Sn 200; exec "$@"', "sh", *a.argv("doctor", "--json")]
    found = one(judge(t.run(*words, timeout=120)), "limits", "open files", "warning", "only 200")
    check_equal(found["command"], "ulimit -n 1024", "the command")
    follow(t, found)
    gone(a, "limits", None)

    (a.home / "state").mkdir(mode=0o700)
    begin = 'mount -t tmpfs -o size=64k none "$1" && shift && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", begin, "sh", a.home / "state"]
    if t.run(*words, "true").returncode:
        t.skip("no mount namespaces here")
    full = judge(t.run(*words, *a.argv("doctor", "--json"), timeout=120))
    one(full, "space", str(a.home / "state"), "problem", "only 0 MiB")
    gone(a, "space", None)


@test(timeout=100)
def interrupted(t):
    "Ctrl-C while a QEMU hangs: nothing of it is left running"
    hangs = t.dir / "hangs"
    hangs.write_text("#!/bin/sh\nexec sleep 1000\n")
    hangs.chmod(0o755)
    a = host(t, qemu=hangs)
    doctor = a.start("doctor", "--json")

    def asleep():
        return [pid for pid, command in t.alive() if "sleep 1000" in command]

    wait_until(asleep, 30, "a QEMU that hangs")
    doctor.signal(signal.SIGINT)
    doctor.wait(10)
    wait_until(lambda: not t.alive(), 15, f"end of {t.alive()}")
