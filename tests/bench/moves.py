# SPDX-License-Identifier: GPL-3.0-or-later
"""Two writing guests that go to and fro between two hosts on this machine: one whose QEMUs are bare and which is moved by
hand, as a script at two monitors does it that waits for events; and one that the program has launched and moves.

Both are the same guest under the same QEMU with the same arguments. Only that one runs which is being moved."""
import os
import select
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from lib.harness import QMP, free_port
from lib.pair import VM
from lib.phases import processes
from lib.process import process_status
from lib.writer import LINES_A_SECOND, WriterSerial, build_writer, wait_running
from measure import Run, Unable, cpu_seconds, memory_kib
from test_receive import Site

LIMIT = 120  # seconds that a migration may take
BANDWIDTH = 64  # GiB a second: no limit at all
DOWNTIME = 300  # ms, QEMU's own default
PAGE = 4096
SPARE = 36  # MiB of QEMU's -m that the guest does not write over


@dataclass
class Guest:
    """How much the guest writes over, and how much of that again in each second: MiB."""

    mebibytes: int
    rate: int

    @property
    def memory(self):
        """QEMU's -m."""
        return self.mebibytes + SPARE

    def image(self, folder):
        """The guest's BIOS image."""
        return build_writer(folder, self.mebibytes, (self.rate << 20) // PAGE // LINES_A_SECOND)


class Memory:
    """Files that guests have as their memory, three of them: each of two guests has one, and the third is that of the QEMU
    to which one of them moves. They stay, so that what a kernel and a hypervisor take for giving memory is not measured."""

    def __init__(self, mebibytes):
        self.size = mebibytes << 20
        need, have = 3 * (mebibytes << 10) + (1 << 20), memory_kib("self", "MemAvailable", "../meminfo") or 0
        if have < need:
            raise Unable(f"memory for three QEMUs of {mebibytes} MiB: {need >> 10} MiB, and {have >> 10} MiB are there")
        self.folder = Path(tempfile.mkdtemp(prefix="qml-bench-", dir="/dev/shm"))
        self.free = [self.folder / f"memory{number}" for number in range(3)]
        for path in self.free:
            with open(path, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, self.size)

    def arguments(self, path):
        """QEMU's."""
        backend = f"memory-backend-file,id=memory,size={self.size},mem-path={path},share=on"
        return ["-machine", "q35,accel=tcg,memory-backend=memory", "-m", str(self.size >> 20), "-object", backend]

    def end(self):
        shutil.rmtree(self.folder)


@dataclass
class Move:
    """What one migration cost. Times are ms, CPU is seconds."""

    total: float  # QEMU's total-time
    downtime: float  # QEMU's downtime
    still: float  # from the source's STOP to the destination's RESUME
    held: float  # of that, what QEMU waited for migrate-continue, and both were through and waited for cont
    until: float  # from the beginning of the command to RESUME
    wall: float  # until the command has ended, and the source's QEMU with it
    sent: int  # bytes, as QEMU counts them
    qemu: float  # CPU of both QEMUs until RESUME
    near: float  # CPU of `migrate`
    far: float  # CPU of the guardian until RESUME


class Watch:
    """Sees what happens to the guest, at monitors (QMP) of its own or of whoever drives the migration. To be made just
    before it begins; pids: both QEMUs."""

    def __init__(self, source, destination, pids):
        self.source, self.destination, self.pids = source, destination, pids
        self.source.events.clear()
        self.destination.events.clear()
        self.used = cpu_seconds(*pids)
        self.stopped = self.held = self.resumed = self.report = None
        self.began, self.clock = time.monotonic(), time.time()

    def _event(self, qmp, name, *states):
        """When it came: seconds of the clock that all processes here have. states: of a MIGRATION event, the one to come."""
        among = (*states, "failed", "cancelled")
        event = qmp.wait_event(name, LIMIT, (lambda data: data["status"] in among) if states else None)
        if states and event["data"]["status"] not in states:
            raise Unable(f"the migration is {event['data']['status']}: {qmp.command('query-migrate').get('error-desc', '')}")
        return event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6

    def pauses(self):
        """Waits until the guest stands still and QEMU waits for migrate-continue."""
        self.stopped = self._event(self.source, "STOP")
        self.held = -self._event(self.source, "MIGRATION", "pre-switchover")

    def completes(self):
        """Waits until both sides are through with it."""
        self.held += self._event(self.source, "MIGRATION", "device")
        ended = self._event(self.source, "MIGRATION", "completed")
        self.held -= max(ended, self._event(self.destination, "MIGRATION", "completed"))

    def resumes(self):
        """Waits until the guest runs there."""
        self.resumed = self._event(self.destination, "RESUME")
        self.held += self.resumed
        self.report = self.source.command("query-migrate")
        while not self.report["total-time"]:  # QEMU says "completed" before it has computed that (7.2)
            self.report = self.source.command("query-migrate")
        self.used = cpu_seconds(*self.pids) - self.used

    def move(self, wall, near, far):
        """What it came to."""
        return Move(
            total=self.report["total-time"],
            downtime=max(1, self.report["downtime"]),  # QEMU counts whole ones
            still=(self.resumed - self.stopped) * 1e3,
            held=self.held * 1e3,
            until=(self.resumed - self.clock) * 1e3,
            wall=wall * 1e3,
            sent=self.report["ram"]["transferred"],
            qemu=self.used,
            near=near,
            far=far,
        )


class Background(threading.Thread):
    """A Run beside what goes on meanwhile."""

    def __init__(self, *words, **options):
        super().__init__(daemon=True)
        self.words, self.options = words, options
        self.result = self.failure = None
        self.start()

    def run(self):
        try:
            self.result = Run(*self.words, **self.options)
        except Unable as failure:
            self.failure = failure

    def end(self):
        """The Run when it has ended."""
        self.join(LIMIT)
        if self.result is None:
            raise self.failure or Unable(f"still running: {self.words[0]}")
        return self.result


def has_ended(process):
    """Waits for it without looking again and again."""
    pidfd = os.pidfd_open(process.pid)
    select.select([pidfd], [], [], LIMIT)
    os.close(pidfd)
    process.wait(0)


def tell(qmp, name, **values):
    """migrate-set-capabilities or migrate-set-parameters."""
    qmp.command(f"migrate-set-{name}", values if name == "parameters" else {
        "capabilities": [{"capability": key, "state": value} for key, value in values.items()]
    })


class Machine:
    """One of a guest's QEMUs: .qmp, .serial, .pid, .memory (the file)."""

    def __init__(self, process, name, memory):
        self.process, self.pid, self.memory = process, process.pid, memory
        self.qmp = QMP(f"{name}.qmp", timeout=LIMIT, alive=process.alive)
        self.serial = WriterSerial(f"{name}.serial")


class Mover:
    """A guest, and the QEMU in which it is: .here."""

    def __init__(self, t, guest, memory, name):
        self.t, self.guest, self.memory, self.name = t, guest, memory, name
        self.count = 0
        self.here = None

    def _next(self):
        """(a name for a new QEMU's files, its memory, its arguments)."""
        self.count += 1
        name, memory = self.t.dir / f"{self.name}{self.count}", self.memory.free.pop(0)
        words = [
            *(self.t.qemu_path, *self.memory.arguments(memory), "-cpu", "max", "-nodefaults", "-display", "none"),
            *("-bios", str(self.guest.image(self.t.dir)), "-serial", f"file:{name}.serial"),
            *("-qmp", f"unix:{name}.qmp,server=on,wait=off"),
        ]
        return name, memory, words

    def _has_begun(self, machine):
        """It was started there."""
        wait_running(machine.serial, LIMIT)
        machine.qmp.command("stop")
        self.here = machine

    def _is_to_move(self):
        """It runs again."""
        self.here.qmp.command("cont")
        self.here.serial.wait_more(2, LIMIT)

    def _has_moved(self, machine):
        """It runs there, with all its memory."""
        machine.serial.wait_more(2, LIMIT)
        machine.qmp.command("stop")
        if machine.serial.last().lost:
            raise Unable(f"the guest has lost {machine.serial.last().lost} pages")
        self.memory.free.append(self.here.memory)
        self.here = machine


class ByHand(Mover):
    """The guest that is moved over QMP, by a script that does what the program does and waits for events, as it does."""

    def __init__(self, t, guest, memory, keys):
        super().__init__(t, guest, memory, "hand")
        self.keys = keys
        self._has_begun(self._start())

    def _start(self, *options):
        """A QEMU for it."""
        name, memory, words = self._next()
        return Machine(self.t.start(*words, *options, name=name.name), name, memory)

    def move(self, tls=False, multifd=0):
        """To a QEMU that waits; a Move."""
        source, destination = self.here, self._start("-S", "-incoming", "defer")
        self._is_to_move()
        watch = Watch(source.qmp, destination.qmp, [source.pid, destination.pid])
        self._set_up(source.qmp, destination.qmp, tls, multifd)
        uri = f"tcp:127.0.0.1:{free_port()}"
        destination.qmp.command("migrate-incoming", uri=uri)
        source.qmp.command("migrate", uri=uri)
        watch.pauses()
        source.qmp.command("migrate-continue", state="pre-switchover")
        watch.completes()
        destination.qmp.command("cont")
        watch.resumes()
        source.qmp.command("quit")
        has_ended(source.process)
        wall = time.monotonic() - watch.began
        self._has_moved(destination)
        return watch.move(wall, 0.0, 0.0)

    def _set_up(self, source, destination, tls, multifd):
        """Both sides alike."""
        both = {"events": True, "return-path": True, "multifd": multifd > 0}
        tell(source, "capabilities", **both, **{"pause-before-switchover": True})
        tell(destination, "capabilities", **both, **{"pause-before-switchover": False})
        channels = {"multifd-channels": multifd} if multifd else {}
        ends = {}
        for qmp, end in ((source, "client"), (destination, "server")):
            ends[end] = {"tls-creds": f"tls-{end}" if tls else "", "tls-hostname": "localhost" if tls else ""}
            if tls:
                how = {"id": f"tls-{end}", "dir": str(self.keys), "endpoint": end, "verify-peer": True}
                qmp.command("object-add", {"qom-type": "tls-creds-x509", **how})
        tell(destination, "parameters", **channels, **ends["server"])
        limits = {"max-bandwidth": BANDWIDTH << 30, "downtime-limit": DOWNTIME}
        tell(source, "parameters", **limits, **channels, **ends["client"])


class Hosts(Site):
    """Hosts with a second port for --direct."""

    def config(self, name, more=""):
        first = free_port()
        self.hosts[name].write_config(
            f"[host]\nname = {name}\n[listen]\nmigration-ports = {first}-{first + 9}\n[qemu]\nbinary = {self.qemu[name]}\n{more}"
        )


class Program(Mover):
    """The guest that the program has launched, and moves: between hosts a and b, which have agents."""

    def __init__(self, t, guest, memory):
        super().__init__(t, guest, memory, "ours")
        self.site = Hosts(t, "ab")
        self.at = "a"
        self._has_begun(self._start(self.site.launch, "a", "b", options=["--no-proof"]))

    def _start(self, how, *words, **options):
        """A QEMU for it."""
        name, memory, guest = self._next()
        launched = how(*words, guest=guest, **options)
        launched.qmp.close()  # QEMU has one for all that come one after the other
        return Machine(launched.process, name, memory)

    def _guardian(self, name):
        """The pid of the guardian there."""
        agents = {str(agent.pid) for agent in self.site.agents.values()}
        found = []
        for pid in processes(self.t, self.site[name].home):
            if not agents & {str(pid), process_status(pid, "PPid")["PPid"]}:
                found.append(pid)
        if len(found) != 1:
            raise Unable(f"processes that could be the guardian on {name}: {found}")
        return found[0]

    def move(self, *options):
        """To the other host, where `receive` waits; a Move."""
        other = "ab".replace(self.at, "")
        source, destination = self.here, self._start(self.site.receive, other, self.at)
        guardian = self._guardian(other)
        self._is_to_move()
        words = ["migrate", VM, "--bandwidth", f"{BANDWIDTH}G", "--downtime", DOWNTIME, *options]
        far = cpu_seconds(guardian)
        watch = Watch(source.qmp, destination.qmp, [source.pid, destination.pid])
        command = Background(self.site[self.at].argv(*words), self.t.environment(), errors=self.t.dir / "migrate.err")
        try:
            watch.pauses()
            watch.completes()
            watch.resumes()
            far = cpu_seconds(guardian) - far
        finally:
            run = command.end()
        source.process.wait()
        self._has_moved(destination)
        self.at = other
        return watch.move(run.seconds, run.cpu, far)
