# SPDX-License-Identifier: GPL-3.0-or-later
"""The end-to-end tests' harness. A test file imports what it needs from here:

    from lib.harness import check, check_equal, test

    @test()
    def profile_is_signed(t):
        "profile prints a signed statement"
        host = t.host("a")
        result = host.run("profile", "--accel", "tcg", check=0)
        check("payload" in result.stdout, "no payload in the profile")

A test is a function of a Test; it passes when it returns, fails by any exception, and is skipped by Skip. Each runs in
a process of its own, in a fresh folder, with a deadline; at its end everything that it started is ended.

Environment: QML_PROGRAM the installed program; QML_QEMU this machine's QEMU (default: qemu-system-x86_64);
QML_SECOND_QEMU the other version (see tests/second-qemu); QML_SANITIZED=1 when the program has sanitizers: then a
test that leaves a sanitizer's report fails, and QML_PLAIN_PROGRAM is the one without them, for what cannot be shown with
sanitizers (Test.need_plain); QML_FULL=1: every row of the large tables of tests, of which else a part is gone through, and the tests that are
registered with full=True.
"""
import importlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

from . import documents, sanitizers
from .child import Child
from .host import Host
from .process import MARK, Process, end_marked, free_port, marked
from .qemu import MACHINE, Qemu, counter_args, migrate_bare
from .qmp import QMP, QMPClosed, QMPError, QMPTimeout, vcpu_features
from .serial import Line, Registers, Serial
from .wait import Failure, Skip, check, check_equal, check_in, patience, wait_until

__all__ = [
    *("Failure", "Host", "Line", "MACHINE", "Process", "QMP", "QMPClosed", "QMPError", "QMPTimeout", "Qemu"),
    *("Registers", "Serial", "Skip", "Test", "check", "check_equal", "check_in", "counter_args", "free_port"),
    *("in_turn", "migrate_bare", "test", "vcpu_features", "wait_until"),
]

LOG_LINES = 30
AGAIN_MAX = 20  # tests that are played again: more do not fail by chance
GRACE = 15  # seconds that a test has, after its deadline, to end what it started


@dataclass
class Registered:
    """A test as its decorator registered it."""

    name: str
    function: object
    timeout: float
    alone: bool
    lane: str
    plain: bool = False  # with the program without sanitizers


REGISTERED = {}
PLAIN = " (plain)"  # after the name of a test that is also run so


def test(timeout=60, alone=False, lane=None, full=False):
    """Registers a test under FILE.FUNCTION (without test_). It must end within `timeout` seconds.

    alone=True: no other test runs beside it (it measures time, or needs the whole machine).
    lane="NAME": one at a time of those with this name, beside as many others as ever (it is long, and takes much of the
    machine); the lanes begin first.
    full=True: only with QML_FULL=1: it is long, and what it alone shows is little.
    """

    def register(function):
        name = f"{function.__module__.removeprefix('test_')}.{function.__name__.removeprefix('test_')}"
        if name in REGISTERED:
            raise ValueError(f"two tests are called {name}")
        if full and not os.environ.get("QML_FULL"):
            return function
        REGISTERED[name] = Registered(name, function, timeout, alone, lane)
        return function

    return register


def in_turn(number, choices):
    """Of tests that are alike, those to register for row `number`: with QML_FULL=1 all choices, else the one whose turn it is."""
    return choices if os.environ.get("QML_FULL") else [choices[number % len(choices)]]


class Test:
    """What a test is given.

    .dir       its fresh folder (a short path: Unix sockets allow 107 bytes)
    .qemu_path this machine's QEMU; .second_qemu_path the other version's, or the test is skipped
    .program   the installed program, or the test is skipped
    .counter   the counter guest's image
    """

    def __init__(self, folder, counter):
        self.dir = Path(folder)
        self.mark = f"{os.getpid()}-{self.dir.name}"
        self.processes = []
        self._counter = counter

    # What the test needs; each of these skips it when it is not there.

    @property
    def program(self):
        """The installed program, from QML_PROGRAM."""
        path = os.environ.get("QML_PROGRAM")
        if not path:
            raise Skip("QML_PROGRAM does not name the installed program")
        if not os.access(path, os.X_OK):
            raise Failure(f"QML_PROGRAM={path} cannot be run")
        return Path(path)

    @property
    def counter(self):
        """The counter guest's image."""
        if not self._counter:
            raise Skip("the counter guest cannot be assembled here (binutils)")
        return self._counter

    @property
    def qemu_path(self):
        """This machine's QEMU, an absolute path."""
        wanted = os.environ.get("QML_QEMU") or "qemu-system-x86_64"
        path = shutil.which(wanted)
        if not path:
            raise Skip(f"no {wanted}")
        return path

    @property
    def second_qemu_path(self):
        """The second QEMU, of another version."""
        path = os.environ.get("QML_SECOND_QEMU")
        if not path:
            raise Skip("no second QEMU (tests/second-qemu makes one)")
        if not os.access(path, os.X_OK):
            raise Failure(f"the second QEMU {path} cannot be run")
        return path

    def need_kvm(self):
        """Skips the test when /dev/kvm cannot be opened."""
        try:
            os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
        except OSError as reason:
            raise Skip(f"no KVM: {reason.strerror}") from None

    def need_plain(self, why):
        """The program without sanitizers, for what one with them cannot do; skipped when there is none. Called before
        anything is started."""
        if not sanitizers.use_plain():
            raise Skip(f"sanitizers: {why}")

    def skip(self, reason):
        """Ends the test as skipped."""
        raise Skip(reason)

    # What the test starts.

    def environment(self, extra=None):
        """The environment for a program that this test starts: ours, `extra` (None removes a name), and the mark."""
        result = {name: value for name, value in os.environ.items() if not name.startswith("QEMU_MIGRATE_LAUNCH")}
        result[MARK] = self.mark
        result.update(sanitizers.options(self.dir))
        result.update(extra or {})
        return {name: str(value) for name, value in result.items() if value is not None}

    def start(self, *argv, name=None, env=None, **options):
        """Starts any program in the background and returns a Process. `name` names its logs; `options` go to Popen."""
        base = name or Path(str(argv[0])).name
        taken = {process.name for process in self.processes}
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}-{count}"
        options.setdefault("cwd", self.dir)
        process = Process(
            name, argv, self.dir / f"{name}.out", self.dir / f"{name}.err", env=self.environment(env), **options
        )
        self.processes.append(process)
        return process

    def run(self, *argv, timeout=30, env=None, input=None, check=None, cwd=None):
        """Runs any program to its end; a CompletedProcess with text. check: the exit status that it must have.

        Only the program itself is waited for, not what it leaves running with our pipes: output goes to files.
        """
        words = [str(word) for word in argv]
        with tempfile.TemporaryFile() as source:
            if input is not None:
                source.write(input.encode() if isinstance(input, str) else input)
                source.seek(0)
            process = self.start(
                *words, name=f"run-{Path(words[0]).name}", env=env, cwd=cwd or self.dir, stdin=source
            )
        try:
            status = process.wait(timeout)
        except Failure:
            raise Failure(f"after {timeout} s still running: {' '.join(words)}") from None
        result = subprocess.CompletedProcess(words, status, process.stdout(), process.stderr())
        if check is not None and status != check:
            said = (result.stderr.strip() or result.stdout.strip())[-800:]
            raise Failure(f"exit status {status} instead of {check} from {' '.join(words)}: {said}")
        return result

    def host(self, name):
        """A new Host with its own home in the test's folder."""
        return Host(self, name)

    def qemu(self, name, *extra, **options):
        """Starts a bare QEMU with a counter guest and returns a Qemu; `extra` are more arguments of QEMU's.

        Options: binary, paused, incoming (`-incoming defer`), machine, cpu, accel, memory; enter (words that start it
        elsewhere), env; image and serial (the guest's image, and the class that reads what it prints).
        """
        return Qemu(self, name, *extra, **options)

    def alive(self):
        """[(pid, command line)] of everything that this test started and that still runs, detached or not."""
        return marked(self.mark, self.dir)

    # The end.

    def end(self):
        """Ends everything that the test started."""
        for process in self.processes:
            if process.alive():
                process.kill()
        end_marked(self.mark, self.dir)

    def logs(self):
        """The ends of the logs of what it started, oldest first, for a person."""
        result = []
        for process in self.processes:
            status = process.poll()
            result.append(f"{process.name} (exit status {status}): {' '.join(process.argv)}")
            for stream in (process.out, process.err):
                lines = stream.read_text(errors="replace").splitlines()
                result += [f"{stream.name}: {line}" for line in lines[-LOG_LINES:]]
        return result

    def sanitizer_reports(self):
        """The text of the reports that sanitizers left."""
        return sanitizers.reports(self.dir)


# One test, in a process of its own.


def _where(failure):
    """file:line of the test's own frame that the failure came through."""
    for frame in reversed(traceback.extract_tb(failure.__traceback__)):
        if Path(frame.filename).name.startswith("test_"):
            return f" ({Path(frame.filename).name}:{frame.lineno}: {frame.line})"
    return ""


def _deadline(number, frame):
    raise Failure("the test's deadline is over")


def run_one(chosen, folder, counter):
    """Runs one registered test in `folder` and writes what came of it to result.json there."""
    if chosen.plain:
        sanitizers.use_plain()
    context = Test(folder, counter)
    context.dir.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGALRM, _deadline)
    signal.setitimer(signal.ITIMER_REAL, patience(chosen.timeout))
    result, reason, trace = "ok", "", ""
    try:
        chosen.function(context)
        documents.check_outputs(context.processes)
    except Skip as skipped:
        result, reason = "skip", str(skipped)
    except (Exception, KeyboardInterrupt) as failure:
        kind = "" if isinstance(failure, Failure) else f"{type(failure).__name__}: "
        result, reason, trace = "FAIL", f"{kind}{failure}{_where(failure)}", traceback.format_exc()
    signal.setitimer(signal.ITIMER_REAL, 0)
    left = context.alive() if result == "FAIL" else []
    try:
        context.end()
    except Failure as failure:
        result, reason = "FAIL", reason if result == "FAIL" else str(failure)
    report = context.sanitizer_reports()
    if report:
        result, reason = "FAIL", reason if result == "FAIL" else "a sanitizer has something to say"
    log = []
    if result == "FAIL":
        log = [*trace.splitlines(), *context.logs(), *report.splitlines()[:80]]
        log += [f"still running at the failure: {pid} {command}" for pid, command in left]
    partial = context.dir / "result.json.tmp"
    partial.write_text(json.dumps({"result": result, "reason": reason, "log": log}))
    partial.rename(context.dir / "result.json")


# All of them.


@dataclass
class Running:
    """A test that runs in a child."""

    test: Registered
    folder: Path
    process: Child
    began: float


def load(folder):
    """Imports every test_*.py of the folder."""
    for path in sorted(Path(folder).glob("test_*.py")):
        importlib.import_module(path.stem)


def _outcome(running):
    """(result, reason, log) of a child that ended or whose time is long over; None while it runs."""
    over = time.monotonic() - running.began > patience(running.test.timeout) + GRACE
    if running.process.wait(os.WNOHANG) is None and not over:
        return None
    running.process.kill()
    try:
        found = json.loads((running.folder / "result.json").read_text())
        return found["result"], found["reason"], found["log"]
    except (OSError, ValueError):
        end_marked(f"{running.process.pid}-{running.folder.name}", running.folder)
        said = (running.folder.parent / f"{running.folder.name}.log").read_text(errors="replace")
        reason = "does not end" if over else f"its process ended with status {running.process.status}"
        return "FAIL", reason, said.splitlines()[-LOG_LINES:]


class Runner:
    """Runs tests, each in a child, and prints a line for each."""

    def __init__(self, script, base, jobs, logs):
        self.base, self.jobs, self.logs = base, jobs, logs
        self.counter = base / "counter.bin"
        self.running, self.failed = [], []
        self.counts = {"ok": 0, "FAIL": 0, "skip": 0}
        self.number = 0
        guest = Path(script).parent.parent / "guest" / "build"
        built = subprocess.run([guest, self.counter], capture_output=True, text=True, check=False)
        if built.returncode:
            print(f"the counter guest is not there: {built.stderr.strip()}", file=sys.stderr)
            self.counter = None

    def start(self, one):
        """Starts a test."""
        self.number += 1
        folder = self.base / str(self.number)
        child = Child(lambda: run_one(one, folder, self.counter), self.base / f"{self.number}.log")
        self.running.append(Running(one, folder, child, time.monotonic()))

    def finish(self, one, result, reason, log, word):
        """Prints what came of a test. word: what a failure is called."""
        seconds = time.monotonic() - one.began
        if result == "ok":
            # Without what detached itself.
            print(f"ok {one.test.name} ({seconds:.1f} s, CPU {one.process.cpu:.1f} s)", flush=True)
            shutil.rmtree(one.folder, ignore_errors=True)
        else:
            said = word if result == "FAIL" else result
            print("\n    ".join([f"{said} {one.test.name}: {reason}", *log]), flush=True)
        if result == "FAIL":
            self.failed.append(one.test)
            if self.logs:
                _keep(one.folder, Path(self.logs) / one.test.name / ("" if word == "FAIL" else word))
        self.counts[result] += 1

    def has_place(self, one):
        """Whether this test can be started beside those that run."""
        if one.alone or any(other.test.alone for other in self.running):
            return not self.running
        if one.lane:
            return all(other.test.lane != one.lane for other in self.running)
        return sum(not other.test.lane for other in self.running) < self.jobs

    def run(self, tests, word="FAIL"):
        """Runs all of these; those that fail are in .failed afterwards."""
        waiting = list(tests)
        self.failed = []
        while waiting or self.running:
            for one in list(waiting):
                if self.has_place(one):
                    waiting.remove(one)
                    self.start(one)
            for one in list(self.running):
                outcome = _outcome(one)
                if outcome:
                    self.running.remove(one)
                    self.finish(one, *outcome, word)
            time.sleep(0.02)

    def end(self):
        """Ends what still runs."""
        for one in self.running:
            one.process.kill()
            end_marked(f"{one.process.pid}-{one.folder.name}", one.folder)


def _wait_for_end(pid):
    """Until the process has ended, if there is one."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([handle], [], [])
    os.close(handle)


def run_all(script, pattern=None, jobs=None, logs=None, again=False, beside=None, plain=None):
    """Runs the registered tests that match, prints a line for each and the sum, and returns the exit status.

    again: what has failed is played once more when all is over, with nothing beside it, unless that is AGAIN_MAX tests or
    more. When it then goes well it counts as passed, and is named as unsteady.
    beside: the pid of what those who want the machine for themselves wait for. plain: of these the tests that match this
    are run with the program without sanitizers, too, when the other one has some.
    """
    chosen = [one for one in REGISTERED.values() if not pattern or re.search(pattern, one.name)]
    if plain and os.environ.get("QML_SANITIZED") and os.environ.get("QML_PLAIN_PROGRAM"):
        chosen += [replace(one, name=one.name + PLAIN, plain=True) for one in chosen if re.search(plain, one.name)]
    together = sorted((one for one in chosen if not one.alone), key=lambda one: not one.lane)
    alone = [one for one in chosen if one.alone]
    base = Path(tempfile.mkdtemp(prefix="qml-"))
    unsteady, runner = [], None
    try:
        runner = Runner(script, base, jobs or 2 * (os.cpu_count() or 1), logs)
        word = "failed" if again else "FAIL"
        runner.run(together, word)
        failed = runner.failed
        if beside and (alone or failed):
            _wait_for_end(beside)
        runner.run(alone, word)
        failed += runner.failed
        if again and len(failed) < AGAIN_MAX:
            runner.counts["FAIL"] = 0
            runner.run([replace(one, alone=True) for one in failed])
            still = {one.name for one in runner.failed}
            unsteady = [one.name for one in failed if one.name not in still]
        elif again:
            for one in failed:
                print(f"FAIL {one.name}: see above; of {len(failed)} that failed none is played again")
    finally:
        if runner:
            runner.end()
        shutil.rmtree(base, ignore_errors=True)
    for name in unsteady:
        print(f"unsteady {name}: it failed, and passed when it was played again: see above why")
    if again:
        print(f"{len(unsteady)} unsteady")
    counts = runner.counts
    print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped", flush=True)
    return 1 if counts["FAIL"] or (pattern and not chosen) else 0


def _keep(folder, kept):
    """Copies a failed test's folder, without sockets and large files."""

    def unwanted(where, names):
        paths = [Path(where) / name for name in names]
        return [
            path.name
            for path in paths
            if not path.is_dir() and (path.is_symlink() or not path.is_file() or path.stat().st_size > 1 << 20)
        ]

    try:
        shutil.copytree(folder, kept, ignore=unwanted, dirs_exist_ok=True)
    except (OSError, shutil.Error) as reason:
        print(f"    its folder cannot be kept: {reason}")
