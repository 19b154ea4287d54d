# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemd unit for each VM (contrib/systemd/qemu-migrate-launch-vm@.service and -receive@.service), its lines run as systemd
would run them."""
import shlex
import shutil
import signal
import socket
from pathlib import Path

from lib.harness import Failure, check, check_equal, check_in, free_port, test, wait_until
from lib.pair import VM, Launched, Pair

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"


def unit_text(name):
    return (CONTRIB / "systemd" / f"{name}@.service.in").read_text()


class Service:
    """A unit of one VM on a host, as its manager has it: .process, whether it is .ready, what becomes of its end."""

    def __init__(self, t, host, name):
        self.t, self.host, self.name = t, host, name
        self.settings = {}
        for line in unit_text(name).splitlines():
            if "=" in line and line[0] not in "#[":
                key, _, value = line.partition("=")
                self.settings.setdefault(key, []).append(value)
        path = t.dir / f"{host.name}-{name[-4:]}-notify"
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.notify.bind(str(path))
        self.env = {"QEMU_MIGRATE_LAUNCH_HOME": host.home, "NOTIFY_SOCKET": path}
        self.process = None

    def one(self, key):
        (value,) = self.settings[key]
        return value

    def words(self, key):
        """The command of a line: what configure puts in, %i, and $NAME as a word, which becomes several."""
        text = self.one(key).replace("@bindir@/qemu-migrate-launch", str(self.t.program)).replace("@contribdir@", str(CONTRIB))
        path = self.one("EnvironmentFile").replace("/etc/qemu-migrate-launch", f"{self.host.home}/config").replace("%i", VM)
        check_equal(path[0], "-", "a file that need not be there")
        file = Path(path[1:])
        lines = file.read_text().splitlines() if file.exists() else []
        variables = dict(line.split("=", 1) for line in lines if line)
        result = []
        for word in shlex.split(text.replace("%i", VM)):
            result += variables.get(word[1:], "").split() if word.startswith("$") else [word]
        return result

    def start(self):
        """Starts it; it may not be ready yet."""
        self.process = self.t.start(*self.words("ExecStart"), env=self.env, name=f"{self.host.name}{self.name[19:]}")
        return self.process

    def wait_ready(self, timeout=60):
        """Until it says so, from the main process (NotifyAccess=main), which is QEMU then."""
        heard = []

        def ready():
            if not self.process.alive():
                raise Failure(f"it ended with {self.process.poll()}: {self.process.stderr()[-400:]}")
            try:
                text, more, _, _ = self.notify.recvmsg(4096, 256, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            heard.append((text.decode(), int.from_bytes(more[0][2][:4], "little")))
            return True

        wait_until(ready, timeout, f"READY from {self.process.name}")
        check_equal(heard, [("READY=1", self.process.pid)], "what the manager is told, and by whom")

    def stop(self, **options):
        """ExecStop= to its end."""
        return self.t.start(*self.words("ExecStop"), env={**self.env, "MAINPID": self.process.pid}, name="stop", **options)

    def starts_again(self, status):
        """Whether the manager starts it again after such an end of the main process; negative: by a signal."""
        if self.one("Restart") == "no" or status == 0:
            return False
        check_equal(self.one("Restart"), "on-failure", "Restart=")
        return str(status) not in self.one("RestartPreventExitStatus").split()


def services(t):
    """(pair, {name: its vm unit}, b's receive unit), with an agent on a."""
    pair = Pair(t)
    port = free_port()
    pair.config(pair.a, more=f"[listen]\naddress = 127.0.0.1:{port}\n")
    pair.b.run("trust", "remove", "a", check=0)
    pair.b.trust(pair.a, address=f"127.0.0.1:{port}")
    for host in (pair.a, pair.b):
        folder = host.home / "config" / "vms"
        folder.mkdir(mode=0o700)
        (folder / f"{VM}.args").write_text(f"# {VM}\n{shlex.join(map(str, pair.guest(host.name)))}\n")
    (pair.a.home / "config/vms" / f"{VM}.env").write_text("LAUNCH_OPTIONS=--peer-profile b.profile --timeout 20\n")
    (pair.b.home / "config/vms" / f"{VM}.env").write_text("RECEIVE_OPTIONS=--from a\n")
    pair.b.prepare("profile", "--accel", "tcg", "--machine", "q35", "-o", t.dir / "b.profile")
    units = {host.name: Service(t, host, "qemu-migrate-launch-vm") for host in (pair.a, pair.b)}
    return pair, units, Service(t, pair.b, "qemu-migrate-launch-receive")


def qemu(pair, service):
    return Launched(pair.a if service.host is pair.a else pair.b, service.process, service.host.name)


@test(timeout=150)
def a_guest_by_its_units(t):
    """started, moved, stopped, killed and started again by the lines of its units: the manager knows when it is ready, and
    never starts it where it is not"""
    pair, units, receive = services(t)
    pair.a.start("serve", name="a-agent").wait_output("serving with key")
    units["a"].start()
    units["a"].wait_ready()
    source = qemu(pair, units["a"])
    source.serial.wait_lines(2)
    second = t.start(*units["a"].words("ExecStart"), env=units["a"].env, name="second")
    check(not units["a"].starts_again(second.wait(30)), "it is started a second time")
    receive.start()
    receive.wait_ready()
    destination = qemu(pair, receive)
    pair.a.run("migrate", VM, check=0, timeout=60)
    status = units["a"].process.wait(30)
    check_equal(status, 0, "QEMU's end at the source")
    check(not units["a"].starts_again(status), "the source is started again")
    destination.serial.wait_more()
    # a boots, say: 14, and that is not tried again.
    status = units["a"].start().wait(30)
    check_equal((status, units["a"].starts_again(status)), (14, False), "the unit of the host that it has left")
    # QEMU is killed on b: its unit there starts it again, under the agreement, with nobody asked.
    destination.qmp.close()
    receive.process.kill()
    check_equal(receive.starts_again(-signal.SIGKILL), False, "a destination that ended")
    check(units["b"].starts_again(-signal.SIGKILL), "a guest whose QEMU was killed is not started again")
    units["b"].start()
    units["b"].wait_ready()
    again = qemu(pair, units["b"])
    again.serial.wait_lines(2)
    # The button: QEMU says so to the guest, and the manager waits until the guest has gone.
    stop = units["b"].stop()
    again.qmp.wait_event("POWERDOWN", 20)
    check(stop.alive(), "it does not wait")
    again.qmp.command("quit")
    stop.expect_status(0, 20)
    check_equal(units["b"].process.wait(20), 0, "QEMU's end")
    check_equal(units["b"].stop().wait(20), 0, "ExecStop= of what has ended")


@test(timeout=90)
def stopped_before_it_came(t):
    """ExecStop= of a destination that waits, and of a paused guest: QEMU ends at once; another command at work is told, 1"""
    pair, units, receive = services(t)
    pair.a.start("serve", name="a-agent").wait_output("serving with key")
    units["a"].start()
    units["a"].wait_ready()
    receive.start()
    receive.wait_ready()
    qemu(pair, receive).qmp.close()
    receive.stop().expect_status(0, 20)
    check_equal(receive.process.wait(20), 0, "the destination's QEMU")
    source = qemu(pair, units["a"])
    with socket.socket(socket.AF_UNIX) as busy:
        busy.connect(pair.record(pair.a)["socket"])
        refused = units["a"].stop()
        refused.expect_status(1, 20)
        check_in("another command is at", refused.stderr(), "what it says")
    check_equal(source.status(), "running", "the guest")
    source.qmp.command("stop")
    units["a"].stop().expect_status(0, 20)
    check_equal(units["a"].process.wait(20), 0, "QEMU's end")


@test()
def no_room_for_mistakes(t):
    """systemd-analyze finds nothing wrong with the units; every status that needs a person keeps systemd from trying again"""
    program = shutil.which("systemd-analyze")
    if not program:
        t.skip("no systemd-analyze")
    for name in ("qemu-migrate-launch-vm", "qemu-migrate-launch-receive"):
        text = unit_text(name).replace("@bindir@/qemu-migrate-launch", "/bin/true").replace("@contribdir@/vm-powerdown", "/bin/true")
        check("@" not in text.replace(f"{name}@", "").replace("vm@", "").replace("receive@", ""), f"{name}: a place that nothing fills")
        path = t.dir / f"{name}@.service"
        path.write_text("".join(f"{line}\n" for line in text.splitlines() if not line.startswith("Documentation=")))
        done = t.run(program, "verify", path, env={"SYSTEMD_LOG_LEVEL": "info"})
        if "Failed to" in done.stderr and "unit" not in done.stderr:
            t.skip(done.stderr.strip())
        check_equal((done.returncode, done.stderr), (0, ""), f"systemd-analyze verify {name}")
    unit = Service(t, t.host("a"), "qemu-migrate-launch-vm")
    tried = [status for status in (10, 11, 12, 14, 64, 65, 69, 70, 73, 76, 77, 78, -9) if unit.starts_again(status)]
    check_equal(tried, [69, 70, -9], "what is tried again")
