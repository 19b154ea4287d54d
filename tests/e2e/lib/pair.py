# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts that trust each other and launch one VM, the counter guest, through the program."""
import json
import os
from pathlib import Path

from .process import free_port
from .qmp import QMP, QMPClosed, QMPTimeout, vcpu_features
from .serial import Serial
from .wait import Failure, check_equal, wait_until

VM = "web1"


def guest_args(t, name, machine="q35", cpu=None, memory=16):
    """QEMU's arguments (without its name) for a counter guest under TCG that writes to `name`.serial."""
    return [
        *("-machine", f"{machine},accel=tcg", "-m", str(memory), "-nodefaults", "-display", "none"),
        *("-bios", str(t.counter), "-serial", f"file:{t.dir / name}.serial"),
        *("-qmp", f"unix:{t.dir / name}.qmp,server=on,wait=off"),
        *(["-cpu", cpu] if cpu else []),
    ]


def end_of_word(option, argv, after=""):
    """The value behind an option (the first whose value starts with `after`), or None."""
    for word, value in zip(argv, argv[1:]):
        if word == option and value.startswith(after):
            return value
    return None


def cmdline(pid):
    """The argument list of a running process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]


def said(process):
    """The lines of a Process, or a CompletedProcess, on standard error that say what is wrong: its own, without those
    that only tell how it goes, and all that are not its own."""
    text = process.stderr if isinstance(process.stderr, str) else process.stderr()
    news = ("waiting for ", "web1: agreed with ", "web1 waits here for ", "lost (", "warning: SECURITY feature")
    result = []
    for line in text.splitlines():
        body = line.removeprefix("qemu-migrate-launch: ")
        if line == body or not body.startswith(news):
            result.append(line)
    return result


class Launched:
    """The QEMU that a launch became.

    .process (the Process that was the program), .argv (QEMU's), .serial; .qmp is connected to the guest's own monitor,
    or, if it has none, to the guardian's socket, which nobody else uses on the source.
    """

    def __init__(self, host, process, qemu, timeout=20):
        self.host = host
        self.process = process

        def became():
            """Not what starts the program elsewhere, nor the program, nor a script that finds the real QEMU."""
            try:
                words, exe = cmdline(process.pid), os.readlink(f"/proc/{process.pid}/exe")
                if any("qml-guardian" in word for word in words) and Path(exe).name not in ("sh", "dash", "bash", "env"):
                    self.argv = words  # a process that is just becoming another has none
                    return True
            except OSError:
                pass
            if not process.alive():
                raise Failure(f"{process.name} ended with {process.poll()}: {process.stderr()[-600:]}")
            return False

        wait_until(became, timeout, f"QEMU instead of {process.name}: {process.stderr()[-300:]}")
        own = end_of_word("-qmp", self.argv, "unix:")
        chardev = end_of_word("-chardev", self.argv, "socket,id=qml-guardian,")
        path = (own.removeprefix("unix:") if own else chardev.split("path=")[1]).split(",server=")[0]
        try:
            self.qmp = QMP(path, alive=process.alive)
        except (QMPClosed, QMPTimeout) as reason:
            raise Failure(f"QEMU {qemu} does not answer: {reason}: {process.stderr()[-300:]}") from None
        serial = end_of_word("-serial", self.argv)
        self.serial = Serial(serial.removeprefix("file:")) if serial else None

    def features(self):
        """{name: bool} of the first vCPU's bool properties."""
        return vcpu_features(self.qmp)

    def status(self):
        """QEMU's run state."""
        return self.qmp.command("query-status")["status"]


class Pair:
    """Hosts a (connects) and b (listens), which trust each other.

        pair = Pair(t, deny_a="aes", deny_b="smap")
        source, destination = pair.launch()
        pair.migrate()
    """

    def __init__(self, t, deny_a="", deny_b="", qemu_a=None, qemu_b=None, reverse=False):
        """reverse: the guest starts on b, the one that listens, and a is the destination."""
        self.t = t
        self.port = free_port()
        self.a, self.b = self.make_host("a"), self.make_host("b")
        self.addresses = {host.name: getattr(host, "address", "127.0.0.1") for host in (self.a, self.b)}
        self.qemu = {"a": qemu_a or t.qemu_path, "b": qemu_b or t.qemu_path}
        self.roles = {"a": [] if not reverse else ["--incoming"], "b": ["--incoming"] if not reverse else []}
        for host, deny in ((self.a, deny_a), (self.b, deny_b)):
            self.config(host, deny=deny)
        self.a.trust(self.b, address=f"{self.addresses['b']}:{self.port}")
        self.b.trust(self.a, address=self.addresses["a"])

    def make_host(self, name):
        """A new Host; other kinds of pairs have others."""
        return self.t.host(name)

    def config(self, host, deny="", more=""):
        """Writes a host's config.ini. The port for QEMU is one that no other test uses."""
        port = free_port()
        text = f"[host]\nname = {host.name}\n[listen]\nmigration-ports = {port}-{port}\n"
        text += f"[policy]\ndeny = {deny}\n" if deny else ""
        host.write_config(text + more)

    def guest(self, name, **how):
        """QEMU's path and arguments of the guest on host `name`."""
        return [self.qemu[name], *guest_args(self.t, name, **how)]

    def listen(self, *options, guest=None, env=None, **start):
        """Starts the program on b; `guest` are the words behind `--`."""
        words = ["--vm", VM, "--listen", f"{self.addresses['b']}:{self.port}", *self.roles["b"], *options]
        process = self.b.start(*words, "--", *(guest or self.guest("b")), name="b-launch", env=env, **start)
        return process

    def connect(self, *options, guest=None, env=None, **start):
        """Starts the program on a."""
        words = ["--vm", VM, "--peer", "b", *self.roles["a"], *options]
        return self.a.start(*words, "--", *(guest or self.guest("a")), name="a-launch", env=env, **start)

    def launch(self, *options, guest_a=None, guest_b=None, env=None):
        """Both at once; returns (Launched of a, Launched of b)."""
        listener = self.listen(*options, guest=guest_b, env=env)
        connector = self.connect(*options, guest=guest_a, env=env)
        return Launched(self.a, connector, "a"), Launched(self.b, listener, "b")

    def dry_run(self, *options, guest_a=None, guest_b=None, b_options=(), timeout=30):
        """Both with --dry-run, to the end; returns the two Processes."""
        listener = self.listen("--dry-run", "--timeout", timeout, *options, *b_options, guest=guest_b)
        connector = self.connect("--dry-run", "--timeout", timeout, *options, guest=guest_a)
        connector.wait(timeout + 10)
        listener.wait(timeout + 10)
        return connector, listener

    def record(self, host):
        """The VM's record there."""
        return json.loads((host.home / "state" / "vms" / f"{VM}.json").read_text())

    def refused(self, process, status, *words, who="", timeout=40):
        """The process ends with this status and one line that has these words, and that line is returned."""
        process.expect_status(status, timeout)
        lines = said(process)
        check_equal(len(lines), 1, f"lines on standard error of {process.name} ({who}): {lines}")
        for word in words:
            if word not in lines[0]:
                raise Failure(f"{process.name} does not say {word!r}: {lines[0]!r}")
        return lines[0]
