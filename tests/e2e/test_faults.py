# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a guest when something dies or breaks while it is moved: a table of faults, phases and QEMU versions.

Each row is a migration of its own, on two hosts of its own, and several of them run at once: each test forks. Whatever
happens, never do two guests run at once, or the same life twice; and in the end exactly one guest runs, or `migrate`
has said that it needs a decision (14), and the way on that it names works.

By default each fault meets each phase once, with QEMU's versions in turn. QML_FAULTS=all runs every row with every
pairing of versions. QML_FAULT_TABLE=FILE keeps the results there as a table in Markdown; rows of other runs stay in it.
"""
import fcntl
import json
import multiprocessing
import os
import re
import signal
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from lib.harness import Failure, Test, check, check_equal, check_in, test, wait_until
from lib.phases import PHASES, Missed
from lib.process import end_marked
from lib.proxy import BACKWARD
from lib.scene import PAIRINGS, Scene, paths, words_of

FAULTS = {
    "destination QEMU killed": lambda scene, migrate: scene.kill("b"),
    "source QEMU killed": lambda scene, migrate: scene.kill("a"),
    "guardian killed": lambda scene, migrate: scene.kill("guardian"),
    "migrate killed": lambda scene, migrate: migrate.signal(signal.SIGKILL),
    "migrate killed, run again": lambda scene, migrate: migrate.signal(signal.SIGKILL),
    "destination host gone": lambda scene, migrate: (scene.proxy.stall(), scene.kill("guardian"), scene.kill("b")),
    "network cut": lambda scene, migrate: scene.proxy.cut(),
    "network stalled": lambda scene, migrate: scene.proxy.stall(),
    "answers lost": lambda scene, migrate: scene.proxy.drop(BACKWARD),
    "source host gone": lambda scene, migrate: (scene.proxy.stall(), scene.kill("all of a")),
}
# The guest has gone with its QEMU: nothing can run on.
LOST = {
    **{("source QEMU killed", phase): "a" for phase in ("setup", "mid-copy", "pre-switchover", "device")},
    ("destination QEMU killed", "resumed"): "b",
    ("destination host gone", "resumed"): "b",
}
DECIDED = 45  # seconds from the fault until the program has ended; the watcher has no more
FENCED = 16  # seconds until a destination has ended that nobody can tell to run
AT_ONCE = 5  # rows of one test
TRIES = 3
ROW_TIME = 240  # seconds for one row


@dataclass
class Row:
    """What came of one migration."""

    fault: str
    phase: str
    pairing: str
    status: str = ""  # exit status of migrate, or "watcher"
    seconds: float = 0.0  # from the fault until the program had ended
    runs: str = ""  # who ran then
    way: str = ""  # what had to be done then
    failure: str = ""
    story: str = ""
    log: str = ""

    def cells(self):
        """Its line of the table."""
        result = self.runs if not self.failure else f"**failed**: {self.failure[:160]}"
        words = (self.fault, self.phase, self.pairing, self.status, result, f"{self.seconds:.0f} s", self.way)
        return [re.sub(r"\s+", " ", word.replace("|", "/")) for word in words]


# The table.

HEADER = """# What becomes of a guest when something fails

Made by `tests/e2e/test_faults.py` (`QML_FAULTS=all QML_FAULT_TABLE=doc/FAULTS.md`); not to be edited by hand.

Each line is one migration of a guest that writes 8 MiB a second all the time, between two hosts, QEMU's versions as
given, through a network with a round trip of 0.3 s from the phase `mid-copy` on. Fault: what happened, in which phase.
Status: the exit status of `migrate` (0: moved; 13: not moved, the guest runs on at the source; 14: it needs a decision,
and says which), `watcher` when nobody but the process that `migrate` leaves behind was there to finish, `none` when
nothing was. Runs: where the guest ran when that had ended (at the destination: or QEMU there); in no line it ran at two
places at any time. After: so many seconds after the fault. Then: what was done after that, as the program said.

| fault | phase | QEMU | status | runs | after | then |
|---|---|---|---|---|---|---|
"""
ORDER = {name: number for number, name in enumerate((*FAULTS, *PHASES, *PAIRINGS))}


def write_table(rows):
    """Puts rows into the table that QML_FAULT_TABLE names; those of the same name are replaced."""
    path = os.environ.get("QML_FAULT_TABLE")
    if not path:
        return
    with open(f"{path}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = {}
        if Path(path).exists():
            for line in Path(path).read_text(encoding="utf-8").splitlines():
                cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
                if len(cells) == 7 and cells[0] in FAULTS:
                    kept[tuple(cells[:3])] = cells
        kept |= {tuple(cells[:3]): cells for cells in (row.cells() for row in rows)}
        ordered = sorted(kept.values(), key=lambda cells: [ORDER.get(name, 99) for name in cells[:3]])
        text = HEADER + "".join(f"| {' | '.join(cells)} |\n" for cells in ordered)
        temporary = Path(f"{path}.new")
        temporary.write_text(text, encoding="utf-8")
        temporary.rename(path)
        Path(lock.name).unlink()


# One row.


def decide(scene, row, migrate, began):
    """Waits until the program has ended; fills status, seconds and runs, and returns what it said."""
    if row.fault == "migrate killed":
        scene.wait_idle(DECIDED)
        row.status, said = "watcher", scene.logs()
    else:
        if row.fault == "migrate killed, run again":
            migrate.wait(5)
            migrate = scene.again()
        status = migrate.wait(DECIDED)
        row.status, said = str(status), words_of(migrate)
    row.seconds = time.monotonic() - began
    names = scene.running()
    row.runs = " and ".join({"a": "source", "b": "destination"}[name] for name in names) or "nowhere"
    return names, said


def go_on(scene, row, said):
    """The guest runs nowhere: what the program says must help."""
    scene.proxy.heal()
    if row.status == "watcher":  # who comes by asks how things are
        again = scene.again()
        status = again.wait(DECIDED)
        said = words_of(again)
        row.way = f"`migrate` again: {status}"
        if status in (0, 13):
            return
        check(status == 14, f"migrate after the watcher ends with {status}: {said}")
    row.way = f"{row.way}; {scene.follow(said)}".strip("; ")


def way_back(scene, row, said):
    """The guest ran at the destination and is no more. The source has what it was when it was moved: the guest goes on
    with that when it has not run for long there, else QEMU is ended, and the guest launched anew."""
    scene.proxy.heal()
    if "--resume-on source' lets it go on here" in said:
        row.way = scene.follow(said)
        check(scene.running() == ["a"], f"who runs: {scene.running()}")
        scene.lives = [scene.serial["a"]]
        return
    scene.kill("a")
    scene.anew("--renegotiate", "--here")
    row.way = "QEMU at the source ended, launched anew --renegotiate --here"


def abandoned(scene, row, began):
    """Nothing is left of the source: the destination runs the guest if it was told to, else it ends, in time."""
    row.status = "none"
    if row.phase == "resumed":
        time.sleep(FENCED)  # no lease counts any more
        scene.check_one("b")
        row.runs = "destination"
        return
    wait_until(lambda: scene.processes["b"].poll() is not None, FENCED, "end of the destination")
    row.seconds, row.runs = time.monotonic() - began, "nowhere"
    check(not scene.running(), f"who runs: {scene.running()}")
    check_equal(scene.serial["b"].text(), "", "what the guest wrote at the destination")


def play(scene, row):
    """The migration and its fault, and what must hold."""
    migrate = scene.migrate()
    moment = []

    def strike():
        FAULTS[row.fault](scene, migrate)
        moment.append(time.monotonic())

    scene.watch.at(row.phase, strike)
    scene.watch.wait(row.phase, alive=migrate)
    if row.fault == "source host gone":
        abandoned(scene, row, moment[0])
        return
    names, said = decide(scene, row, migrate, moment[0])
    lost = LOST.get((row.fault, row.phase))
    if lost and not (row.phase == "device" and names == ["b"]):  # it may have arrived just so
        check(not names, f"a guest runs on {names}, though it should have gone with its QEMU")
        allowed = {"14", "watcher"} if lost == "a" else {"0", "14"}
        check(row.status in allowed, f"status {row.status} for a guest that is lost: {said}")
        if lost == "b":
            if row.status == "14":
                way_back(scene, row, said)
            return
        scene.proxy.heal()
        if "migrate web1' again" in said:  # a QEMU that was ending did not answer any more, and was still there
            again = scene.again()
            again.expect_status(14, DECIDED)
            said, row.way = words_of(again), "`migrate` again: 14; "
        check_in("start it anew with launch", said, "what is said of a guest that is lost")
        options = ["--renegotiate", "--here"] if "--here" in said else []
        scene.anew(*options)
        row.way += " ".join(["launched anew", *options])
        return
    wanted = {"0": ["b"], "13": ["a"], "14": [], "watcher": names}.get(row.status)
    check(wanted is not None, f"status {row.status}: {said}")
    if row.status == "14" and names:
        # It could not know: a decision for what runs already must be harmless.
        row.way = "runs already"
    else:
        check(names == wanted, f"status {row.status} ({said}), and who runs: {names}")
    if not names:
        go_on(scene, row, said)
        names = scene.running()
    check(len(names) == 1, f"in the end the guest runs on {names}: {said}")
    if row.way == "runs already":
        scene.proxy.heal()
        row.way = "it ran already" if "has moved to b already" in said else f"it ran already; {scene.follow(said)}"
    scene.check_one(names)


def attempt(t, row):
    """One migration with the fault in it. That there were never two guests counts before all else."""
    failure = None
    scene = Scene(t, *paths(t, row.pairing))
    scene.launch()
    try:
        play(scene, row)
    except Failure as reason:
        failure = reason
    time.sleep(0.3)  # a second guest would show
    row.story, row.log = scene.watch.story(), scene.logs()
    try:
        scene.end()
    except Failure as worse:
        raise Failure(f"{worse}{f' (and {failure})' if failure else ''}") from failure
    if failure:
        raise failure


def run_row(t, row):
    """Plays a row in this process, and leaves what came of it in its folder. When the phase does not come (where much
    else is going on a migration may fail by itself), it is tried again."""
    signal.setitimer(signal.ITIMER_REAL, ROW_TIME)
    log, folder = [], t.dir
    try:
        for number in range(TRIES):
            t.dir = folder / str(number)
            t.dir.mkdir()
            try:
                attempt(t, row)
                break
            except Missed:
                t.end()
                if number == TRIES - 1:
                    raise
    except (Exception, KeyboardInterrupt) as failure:
        kind = "" if isinstance(failure, Failure) else f"{type(failure).__name__}: "
        row.failure = f"{kind}{failure}"
        log = [*traceback.format_exc().splitlines(), *(line for line in t.logs() if not line.startswith("run-"))]
        log += [f"story: {row.story}", *row.log.split(" | ")]
    signal.setitimer(signal.ITIMER_REAL, 0)
    report = t.sanitizer_reports()
    if report:
        row.failure = row.failure or "a sanitizer has something to say"
        log += report.splitlines()[:80]
    try:
        t.end()
    except Failure as failure:
        row.failure = row.failure or str(failure)
    (folder / "row.tmp").write_text(json.dumps({**vars(row), "log": log}))
    (folder / "row.tmp").rename(folder / "row.json")


class RowTest(Test):
    """What a row has in place of the test's own Test: a folder and a mark of its own."""

    def __init__(self, parent, number):
        super().__init__(parent.dir / f"r{number}", None)
        self.dir.mkdir()
        self.mark = f"{parent.mark}-r{number}"


class Log:
    """Stands among a test's processes for the log of a row that failed."""

    def __init__(self, folder, name, lines):
        self.name, self.argv = name, ["row"]
        self.out, self.err = folder / "row.log", folder / "row.err"
        self.out.write_text("\n".join(lines))
        self.err.write_text("")

    def poll(self):
        """It has ended."""
        return 1

    def alive(self):
        """It has ended."""
        return False


def run_rows(t, rows):
    """Plays the rows, some at a time, each in a process of its own; Failure when one of them fails."""
    fork = multiprocessing.get_context("fork")
    contexts = [RowTest(t, number) for number in range(len(rows))]
    waiting = list(zip(rows, contexts))
    playing, done = [], []
    try:
        while waiting or playing:
            while waiting and len(playing) < AT_ONCE:
                row, context = waiting.pop(0)
                child = fork.Process(target=run_row, args=(context, row))
                child.start()
                playing.append((row, context, child))
            for entry in list(playing):
                row, context, child = entry
                if child.is_alive():
                    continue
                playing.remove(entry)
                try:
                    found = json.loads((context.dir / "row.json").read_text())
                    log, found["log"] = found["log"], ""
                    row = Row(**found)
                except (OSError, ValueError):
                    row.failure, log = f"its process ended with {child.exitcode}", []
                if row.failure:
                    words = f"{row.fault}, {row.phase}, {row.pairing}"
                    t.processes.append(Log(context.dir, words, log))
                done.append(row)
            time.sleep(0.05)
    finally:
        for _, _, child in playing:
            child.kill()
            child.join()
        for context in contexts:
            end_marked(context.mark)
        write_table(done)
    failed = [row for row in done if row.failure]
    words = "; ".join(f"{row.fault}, {row.phase}, {row.pairing}: {row.failure}" for row in failed)
    check(not failed, f"{len(failed)} of {len(done)} rows: {words}")


def rows_of(t, fault):
    """The rows of one fault, for this run."""
    second = os.environ.get("QML_SECOND_QEMU")
    pairings = list(PAIRINGS) if second else list(PAIRINGS)[:1]
    if os.environ.get("QML_FAULTS") == "all":
        return [Row(fault, phase, pairing) for phase in reversed(PHASES) for pairing in pairings]
    turn = list(FAULTS).index(fault)
    rows = [Row(fault, phase, pairings[(turn + number) % len(pairings)]) for number, phase in enumerate(PHASES)]
    return rows[::-1]  # those that take long first


def register(fault):
    """The test of one fault in all phases."""

    def function(t):
        run_rows(t, rows_of(t, fault))

    function.__name__ = f"test_{re.sub('[^a-z]+', '_', fault.lower())}"
    function.__module__ = __name__
    function.__doc__ = f"{fault}, in each phase of a migration: never two guests, and one in the end, or a way to it"
    test(timeout=900 if os.environ.get("QML_FAULTS") == "all" else 200)(function)


for chosen_fault in FAULTS:
    register(chosen_fault)
