# SPDX-License-Identifier: GPL-3.0-or-later
"""The program under QEMU's name: a symlink earlier on PATH, options in [launch] of config.ini."""
import os
import shutil
from pathlib import Path

from lib.harness import check, check_equal, check_in, test, wait_until
from lib.pair import VM, Launched, Pair, cmdline, guest_args, said

NAME = "qemu-system-x86_64"
# What libvirt asks before it starts anything (virQEMUCapsInitQMPSingle), here with QMP on standard input.
PROBE = "-S -no-user-config -nodefaults -nographic -machine none,accel=tcg -qmp stdio -monitor none -serial none"
QMP_WORDS = '{"execute": "qmp_capabilities"}\n{"execute": "query-version"}\n{"execute": "quit"}\n'
QUESTIONS = (
    "-version",
    "-help",
    "-cpu help",
    "-machine help",
    "-device help",
    "-machine q35,accel=tcg -device virtio-net-pci,help",
    "-accel help",
    "-machine none -S -cpu help",
)


class Place:
    """Folders of PATH, one behind the other, and the environment of who calls QEMU's name."""

    def __init__(self, t, host, *files, name="path"):
        """files: what has QEMU's name in each folder: a path that a symlink leads to."""
        self.t, self.host = t, host
        self.folders = []
        for number, target in enumerate(files):
            folder = t.dir / f"{name}{number}"
            folder.mkdir()
            (folder / NAME).symlink_to(target)
            self.folders.append(folder)
        self.env = {
            "PATH": ":".join([*map(str, self.folders), "/usr/sbin:/usr/bin:/sbin:/bin"]),
            "QEMU_MIGRATE_LAUNCH_HOME": host.home,
        }

    def words(self, *args):
        """Called as a shell calls it: argv[0] is the bare name."""
        return ["bash", "-c", 'exec "$@"', "bash", NAME, *args]

    def run(self, *args, **options):
        options.setdefault("env", self.env)
        return self.t.run(*self.words(*args), **options)

    def start(self, *args, **options):
        return self.t.start(*self.words(*args), env=self.env, **options)


def only_here(t, *files, name="path"):
    """A Place whose PATH ends with these folders and a shell: this machine's own QEMU is not on it."""
    place = Place(t, t.host(f"host-{name}"), *files, name=name)
    shell = t.dir / f"{name}-shell"
    shell.mkdir()
    (shell / "bash").symlink_to(shutil.which("bash"))
    place.env["PATH"] = ":".join(map(str, [*place.folders, shell]))
    return place


def outcome(result):
    return result.returncode, result.stdout, result.stderr


@test(timeout=120)
def asks_the_real_one(t):
    """-version, -help, … help, -machine none: to the byte what the real QEMU says, 7.2 and 10.0, with peers configured, and
    with a configuration that is broken"""
    for number, qemu in enumerate((t.qemu_path, t.second_qemu_path)):
        host = t.host(f"host{number}")
        host.write_config("[policy]\ndeny = nothing-known\n[launch]\npeer = nobody\n")
        real = Place(t, host, qemu, name=f"real{number}-")
        ours = Place(t, host, t.program, qemu, name=f"ours{number}-")
        for words in QUESTIONS:
            check_equal(outcome(ours.run(*words.split())), outcome(real.run(*words.split())), f"{qemu} {words}")
        shown = [one.run(*PROBE.split(), input=QMP_WORDS, check=0) for one in (ours, real)]
        # The events at the end have the time.
        first, second = ([line for line in one.stdout.splitlines() if "timestamp" not in line] for one in shown)
        check_equal(first, second, f"{qemu} {PROBE}")
        check(len(first) >= 4, f"QMP: {first}")
    host.write_config("[launch]\nno-such-key = 1\n")
    check_equal(outcome(ours.run("-version")), outcome(real.run("-version")), "-version with a broken configuration")


@test()
def nobody_is_configured(t):
    """no configuration, or one without parties: QEMU's own words, to the byte, in QEMU; its exit status"""
    host = t.host("a")
    place = Place(t, host, t.program, t.qemu_path)
    for text in (None, "[launch]\ncpu-form = base\n"):
        if text:
            host.write_config(text)
        words = [*guest_args(t, "a"), "-S", "-name", "web1", "-cpu", "max,-avx", "-fw_cfg", "name=opt/x,string= a  b,,'\"$c"]
        process = place.start(*words)
        real = os.path.realpath(t.qemu_path)
        # While it is exec'd there are none.
        wait_until(
            lambda: os.path.realpath(f"/proc/{process.pid}/exe") == real and cmdline(process.pid), 15, "QEMU, with words"
        )
        check_equal(cmdline(process.pid), [NAME, *words], "QEMU's words")
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        check(b"QEMU_MIGRATE_LAUNCH_HOME" not in environment, "our variable is QEMU's")
        process.kill()
    for words in (["-machine", "nonsense"], ["-no-such-option"], ["-display", "none", "-drive", "file=/nowhere/at-all"]):
        told = place.run(*words)
        check_equal(outcome(told), outcome(Place(t, host, t.qemu_path, name=words[0]).run(*words)), f"QEMU about {words}")
        check_equal(told.returncode, 1, "QEMU's status")


@test()
def never_itself(t):
    """alone on PATH, named in [qemu] binary, a copy of it before and behind the real one: an error, or QEMU; no loop"""
    copies = []
    for number in range(2):
        copies.append(t.dir / f"copy{number}")
        shutil.copy(t.program, copies[-1])
    alone = only_here(t, t.program, name="alone")
    for words in (["-version"], ["-S"]):
        result = alone.run(*words, check=78)
        check_in("not found on PATH behind this program itself", result.stderr, "what to do")
        check_equal(len(result.stderr.splitlines()), 1, "lines")
    for number, order in enumerate(([t.program, copies[0]], [copies[0], t.program, copies[1], t.program], copies)):
        only = only_here(t, *order, name=f"only{number}")
        check_in("behind this program itself", only.run("-version", check=78, timeout=20).stderr, "nothing but copies")
        place = Place(t, t.host(f"c{number}"), *order, t.qemu_path, name=f"copies{number}-")
        check_in("QEMU emulator version", place.run("-version", check=0, timeout=20).stdout, "behind copies")
    place = Place(t, t.host("named"), t.program, t.qemu_path, name="named")
    place.host.write_config(f"[qemu]\nbinary = {place.folders[0]}/{NAME}\n")
    told = place.run("-version", check=78).stderr
    for word in ("config.ini: [qemu] binary: ", f"{place.folders[0]}/{NAME}: it is this program itself", "name QEMU's own"):
        check_in(word, told, "what is wrong")
    place.host.write_config(f"[qemu]\nbinary = {t.second_qemu_path}\n")
    said_second = t.run(t.second_qemu_path, "-version", check=0).stdout
    check_equal(place.run("-version", check=0).stdout, said_second, "what [qemu] binary names")
    # The other commands do not take it for QEMU either.
    (place.host.home / "config" / "config.ini").unlink()
    shown = place.host.run("profile", "--unsigned", "--accel", "tcg", env=place.env, check=0).stdout
    check_in('"qemu"', shown, "profile")


# (config.ini's [launch], the words that QEMU gets, the exit status, words of the message)
REFUSED = (
    ("nonsense = 1", [], 78, ["config.ini: line 2: unknown key 'nonsense' in [launch]"]),
    ("home = /h", [], 78, ["config.ini: line 2: unknown key 'home' in [launch]"]),
    ("peer = b\ntimeout = soon", [], 78, ["config.ini: line 3: [launch]: --timeout: 'soon' is not 1 to 86400 seconds"]),
    ("peer = b\nincoming = yes", [], 78, ["line 3: [launch]: incoming: 'yes' is neither on nor off"]),
    ("listen = 16515", [], 78, ["line 2: [launch]: listen: '16515' is neither on nor off, nor [ADDR]:PORT"]),
    ("peer = b:99999", [], 78, ["line 2: [launch]: --peer: 'b:99999' is not HOST[:PORT]"]),
    ("peer =", [], 78, ["line 2: [launch]: --peer: '' is not HOST[:PORT]"]),
    ("cpu-form = best", [], 78, ["line 2: [launch]: --cpu-form is named, base or host"]),
    ("peer = b\npeer = b", [], 78, ["line 3: [launch]: --peer b was given twice"]),
    ("require = no feature", [], 78, ["line 2: [launch]: "]),
    ("peer = b\nlisten = on", [], 78, ["config.ini: [launch]: give --peer HOST", "or --listen, one of them"]),
    ("agreement = /x\npeer = b", [], 78, ["config.ini: [launch]: --agreement needs no --peer"]),
    ("offline-ok = on", [], 78, ["config.ini: [launch]: --offline-ok is about --peer"]),
    ("peer = b", ["-machine", "q35,accel=tcg"], 64, ["the VM has no name: give --vm NAME, or QEMU's -name"]),
    ("peer = b", ["-name", "web1", "-no-such-option"], 64, ["QEMU has no option '-no-such-option'"]),
    ("peer = b", ["-name", "web1", "-cpu"], 64, ["QEMU's option '-cpu' needs a value"]),
    ("peer = b", ["-name", "web1", "-machine", "q35,accel=tcg"], 77, ["no trust entry is named b"]),
    ("peer = c\ntimeout = 1", ["-name", "web1", "-machine", "q35,accel=tcg", "-nodefaults"], 69, ["c"]),
    ("listen = on\nincoming = on", ["-name", "web1", "-incoming", "defer", "-accel", "tcg"], 64, ["give one of them"]),
    ("agreement = /nowhere", ["-name", "web1", "-accel", "tcg"], 78, ["/nowhere"]),
)


@test(timeout=120)
def configuration(t):
    """what is wrong with [launch] is told with file and line, 78; what is wrong else as launch tells it"""
    a, c = t.host("a"), t.host("c")
    a.identity_pin()
    a.trust(c, address="127.0.0.1:1")
    place = Place(t, a, t.program, t.qemu_path)
    for text, words, status, told in REFUSED:
        a.write_config(f"[launch]\n{text}\n")
        result = place.run(*words, check=status)
        check_equal(len(said(result)), 1, f"lines: {result.stderr}")
        for word in told:
            check_in(word, result.stderr, f"{text!r}: what is told")
        check_equal(result.stdout, "", "standard output")
    a.write_config("[launch]\npeer = b\n[lunch]\npeer = c\n")
    check_in("config.ini: line 4: unknown section [lunch]", place.run("-S", check=78).stderr, "section")


@test(timeout=120)
def a_guest_lives_under_it(t):
    """a guest is started by QEMU's name on 7.2 and 10.0 as [launch] says, moves, and is not started twice, with nobody
    configured either"""
    pair = Pair(t, qemu_b=t.second_qemu_path, deny_b="aes")
    launch = {"a": "[launch]\npeer = b\ndeny = rdrand\n", "b": f"[launch]\nlisten = 127.0.0.1:{pair.port}\nincoming = on\n"}
    places = {}
    for host in (pair.a, pair.b):
        deny = "aes" if host is pair.b else ""
        pair.config(host, deny=deny, more=launch[host.name])
        places[host.name] = Place(t, host, t.program, pair.qemu[host.name], name=f"{host.name}-path")
    args = {name: [*guest_args(t, name), "-name", VM] for name in "ab"}
    listener = places["b"].start(*args["b"], name="b-launch")
    connector = places["a"].start(*args["a"], name="a-launch")
    a, b = Launched(pair.a, connector, "a"), Launched(pair.b, listener, "b")
    check_equal(os.path.realpath(f"/proc/{a.process.pid}/exe"), os.path.realpath(t.qemu_path), "QEMU on a")
    for one in (a, b):
        found = one.features()
        check(not found["aes"] and not found["rdrand"], "the agreed CPU")
    # Another start by QEMU's name, as a process manager would: it runs here.
    again = places["a"].run(*args["a"], check=14)
    check_in(f"{VM} runs here already", again.stderr, "a second start")
    pair.a.run("migrate", VM, check=0, timeout=60)
    connector.expect_status(0, 30)
    check_equal(b.status(), "running", "the guest on b")
    for text in (launch["a"], ""):
        pair.config(pair.a, more=text)
        refused = places["a"].run(*args["a"], check=14)
        check_in(f"{VM} has moved to b: it is not started here", refused.stderr, f"with {text!r}")
