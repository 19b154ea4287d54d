# SPDX-License-Identifier: GPL-3.0-or-later
"""Watching a migration from beside: in which phase it is, what to do at which, and that never two guests run at once.

Each QEMU gets a monitor of the test's own (`monitor`), which the program knows nothing of. A thread for each side asks
there, fifty times a second, for the run state and for the migration; what it heard is kept with the moments of
asking and of answering, so that afterwards can be said for certain whether two guests ran.

Phases, in their order, and what keeps each long enough to do something in it:

setup            QEMU was told of the migration, no memory has moved. It lasts for some messages between the hosts.
mid-copy         a third of the memory has moved. The bandwidth and the guest's memory say how long it lasts.
pre-switchover   the source's guest is stopped, its devices are not sent yet. It ends after a message to the guardian
                 and its answer: with Proxy.delay(d) on the network it lasts 2 d at the least.
device           the devices are on their way: it ends when the destination's QEMU has loaded them, and told the
                 source's so on the migration's own return path: 2 d again.
completed        the source's QEMU says that all has arrived. Until `told` is written the program asks the guardian
                 whether the destination's says so, too: 2 d.
told             the source's record says that only the destination may run the guest, which it does not yet: the
                 message is on its way for d.
resumed          the guest runs at the destination; the answer is on its way back for d.

So the network is slow from mid-copy on (Scene.migrate in scene.py does so), and the thread, which looks every 20 ms,
acts itself in the moment that it sees a phase. No process is stopped for that: it would be one fault more.
"""
import json
import os
import threading
import time
from dataclasses import dataclass

from .qmp import QMP, QMPClosed, QMPError, QMPTimeout
from .wait import Failure, wait_until

PHASES = ("setup", "mid-copy", "pre-switchover", "device", "completed", "told", "resumed")
PAUSE = 0.02  # seconds between two looks
GONE = "gone"  # instead of a run state: there is no QEMU any more
MUTE = "mute"  # it does not answer; what it does is not known


class Missed(Failure):
    """The phase did not come, or was not seen."""


def monitor(path):
    """QEMU's arguments for a monitor of the test's own."""
    return ["-qmp", f"unix:{path},server=on,wait=off"]


@dataclass
class Look:
    """What one QEMU said. began, ended: time.monotonic before asking and after the answer."""

    side: str
    began: float
    ended: float
    status: str  # the run state, GONE or MUTE
    migration: str  # the state of the migration; "" before there was any
    moved: float  # part of the memory that was sent, 0 to 1 and more
    reason: str = ""  # why it failed


def _stretches(looks):
    """[(begin, end, look, look)]: between these looks of one side, which follow each other, its guest ran."""
    pairs = [(one.ended, other.began, one, other) for one, other in zip(looks, looks[1:])]
    return [pair for pair in pairs if pair[2].status == pair[3].status == "running" and pair[0] <= pair[1]]


def overlap(looks):
    """Looks (Look) of two sides that show two running guests for certain, or None.

    A guest that runs in two looks of one side, with none in between where it does not, has run all the time between: in
    the 20 ms nobody has stopped and started it. The other side's is a second guest when it did so in a part of that time,
    or when a look that lies there as a whole says that it runs.
    """
    sides = {}
    for look in sorted(looks, key=lambda look: look.began):
        sides.setdefault(look.side, []).append(look)
    for side, own in sides.items():
        stretches = _stretches(own)
        others = [look for name, its in sides.items() if name != side for look in its]
        running = [(look.began, look.ended, look) for look in others if look.status == "running"]
        at = 0
        for begin, end, *known in sorted([*_stretches(others), *running], key=lambda one: one[0]):
            while at < len(stretches) and stretches[at][1] < begin:
                at += 1
            if at == len(stretches):
                break
            first, last, before, after = stretches[at]
            if len(known) == 2 and max(begin, first) <= min(end, last) or first <= begin and end <= last:
                return before, *known, after
    return None


class Watch:
    """Watches a source and a destination.

        watch = Watch({"a": path, "b": path}, "a", "b", record)
        watch.at("device", lambda: proxy.cut())
        watch.start()
        ...
        watch.stop()
        watch.check_never_two()

    record: the file of the source's record of the VM, for the phase `told`.
    """

    def __init__(self, sockets, source, destination, record, timeout=5.0):
        self.source, self.destination, self.record = source, destination, record
        self.looks = []
        self.fired = {}  # phase: the moment when its calls were made
        self.failure = None
        self._timeout = timeout
        self._qmp = {side: QMP(path) for side, path in sockets.items()}
        self._newest = {}
        self._calls = []
        self._told = False
        self._over = threading.Event()
        self._lock = threading.RLock()
        self._threads = [threading.Thread(target=self._run, args=(side,), daemon=True) for side in sockets]

    def at(self, phase, call):
        """Calls call(), once, as soon as this phase is seen, in the thread that sees it. Phases that were missed do not
        count: when a later one is seen, the call is not made, and check_seen fails."""
        if phase not in PHASES:
            raise ValueError(phase)
        self._calls.append((phase, call))

    def start(self):
        """Begins to look."""
        for thread in self._threads:
            thread.start()
        return self

    def stop(self):
        """Looks no more."""
        self._over.set()
        for thread in self._threads:
            thread.join(self._timeout + 5)
        for qmp in self._qmp.values():
            qmp.close()
        if self.failure:
            raise Failure(f"while watching: {type(self.failure).__name__}: {self.failure}")

    def newest(self, side):
        """The newest Look at this side."""
        return wait_until(lambda: self._newest.get(side), 15, f"look at {side}")

    def wait(self, phase, timeout=60, alive=None):
        """Waits until the calls of this phase were made; else Missed. alive: a Process without which it does not come
        any more."""
        until = time.monotonic() + timeout

        def seen():
            if self.failure:
                raise Failure(f"while watching: {type(self.failure).__name__}: {self.failure}")
            if phase in self.fired:
                return True
            if alive is not None and not alive.alive():
                time.sleep(0.2)
                if phase not in self.fired:
                    raise Missed(f"{alive.name} ended ({alive.poll()}) before {phase}: {alive.stderr()[-300:]}")
            if time.monotonic() > until:
                raise Missed(f"no phase {phase} of the migration after {timeout} s: {self.story()}")
            return False

        wait_until(seen, timeout + 10, "")

    def running(self):
        """The sides whose guest runs, by the newest look at each that began after this call."""
        now = time.monotonic()

        def fresh():
            newest = list(self._newest.values())
            return len(newest) == len(self._qmp) and all(look.began > now for look in newest) and newest

        return sorted(look.side for look in wait_until(fresh, 15, "look at both QEMUs") if look.status == "running")

    def story(self):
        """What each side went through, in words, with the seconds since the first look, for a person."""
        with self._lock:
            looks = sorted(self.looks, key=lambda look: look.began)
        known, parts = {}, []
        for look in looks:
            words = f"{look.side} {look.status} {look.migration}".strip()
            if known.get(look.side) != words:
                known[look.side] = words
                parts.append(f"{look.ended - looks[0].began:.2f} {words}{': ' + look.reason if look.reason else ''}")
        return "; ".join(parts)

    def check_never_two(self):
        """Failure when two guests ran at once."""
        with self._lock:
            found = overlap(self.looks)
        if found:
            raise Failure(f"two guests ran at once: {found}; {self.story()}")

    # The threads.

    def _run(self, side):
        while not self._over.is_set():
            try:
                look = self._look(side)
                with self._lock:
                    self.looks.append(look)
                    self._newest[side] = look
                    self._call()
            except Exception as failure:
                self.failure = failure
                return
            self._over.wait(PAUSE)

    def _look(self, side):
        began = time.monotonic()
        try:
            asked = [("query-status", {}), ("query-migrate", {})]
            status, migration = (reply["return"] for reply in self._qmp[side].pipeline(asked, self._timeout))
        except QMPTimeout:
            return Look(side, began, time.monotonic(), MUTE, "", 0)
        except (QMPClosed, QMPError, OSError):
            return Look(side, began, time.monotonic(), GONE, "", 0)
        ram = migration.get("ram", {})
        moved = ram.get("transferred", 0) / max(1, ram.get("total", 0))
        state, reason = migration.get("status", ""), migration.get("error-desc", "")
        return Look(side, began, time.monotonic(), status["status"], state, moved, reason)

    def _place(self):
        """Where the source's record says that the VM is."""
        try:
            with open(self.record, encoding="utf-8") as file:
                return json.load(file).get("place")
        except (OSError, ValueError):
            return None

    def phase(self):
        """The furthest phase that the newest looks show, or None."""
        source, destination = (self._newest.get(side) for side in (self.source, self.destination))
        if not source or not destination:
            return None
        if destination.status == "running":
            return "resumed"
        self._told = self._told or (source.migration == "completed" and self._place() == "told")
        if self._told:
            return "told"
        if source.migration in ("completed", "device", "pre-switchover"):
            return source.migration
        if source.migration == "active":
            return "mid-copy" if source.moved > 0.33 else "setup"
        if source.migration == "setup" or destination.migration == "setup":
            return "setup"
        return None

    def _call(self):
        """Makes the calls of the phase that it is now in."""
        if not self._calls:
            return
        phase = self.phase()
        due = [entry for entry in self._calls if entry[0] == phase]
        for entry in due:
            self._calls.remove(entry)
            entry[1]()
        if due:
            self.fired[phase] = time.monotonic()


def processes(test, home):
    """[pid] of the processes of the program under test, forked ones included, that work for the host with this home."""
    program = os.path.realpath(test.program)
    found = []
    for pid, command in test.alive():
        try:
            if os.readlink(f"/proc/{pid}/exe") == program and f"{home} " in f"{command} ":
                found.append(pid)
        except OSError:
            continue
    return found
