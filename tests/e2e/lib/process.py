# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that a test starts, and how all of them are ended, also those that detached themselves."""
import os
import random
import signal
import socket
import subprocess
from pathlib import Path

from .wait import Failure, check_equal, patience, wait_until

MARK = "QML_TEST_MARK"  # in the environment of everything that a test starts, so that all of it can be found
PORTS = 21000  # where those of tests begin
_taken = []  # sockets that keep them from other tests


def _is_free(port):
    """Whether nobody has this TCP port of 127.0.0.1."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port():
    """A TCP port of 127.0.0.1 that nobody has, and that no other test is given while this one runs. The kernel gives it to
    nobody who only connects: those have others."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(PORTS, max(first, PORTS + 1000)), 1000):
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0qml-test-port-{port}")  # gone with this process, and in the same network as the port
        except OSError:
            mark.close()
            continue
        if _is_free(port):
            _taken.append(mark)
            return port
        mark.close()
    raise Failure("no port is free")


class Process:
    """A running program, with stdout and stderr going to the files `out` and `err`; made by Test.start and Host.start.

    It leads a session of its own, so `signal_group` reaches all that it started and that did not detach itself.
    """

    def __init__(self, name, argv, out, err, **options):
        self.name = name
        self.argv = [str(word) for word in argv]
        self.out, self.err = Path(out), Path(err)
        options.setdefault("stdin", subprocess.DEVNULL)
        with open(self.out, "wb") as stdout, open(self.err, "wb") as stderr:
            self._popen = subprocess.Popen(self.argv, stdout=stdout, stderr=stderr, start_new_session=True, **options)
        self.pid = self._popen.pid

    @property
    def stdin(self):
        """The pipe to it, if it was started with stdin=subprocess.PIPE."""
        return self._popen.stdin

    def stdout(self):
        """What it printed so far, as text."""
        return self.out.read_text(errors="replace")

    def stderr(self):
        """What it printed to standard error so far, as text."""
        return self.err.read_text(errors="replace")

    def poll(self):
        """The exit status (-N: ended by signal N), or None while it runs."""
        return self._popen.poll()

    def alive(self):
        """Whether it runs."""
        return self.poll() is None

    def wait(self, timeout=30):
        """Waits for its end and returns the exit status; Failure when the time is over."""
        timeout = patience(timeout)
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"after {timeout} s {self.name} still runs") from None

    def expect_status(self, status, timeout=30):
        """Waits for its end; Failure unless the exit status is this."""
        check_equal(self.wait(timeout), status, f"exit status of {self.name}, which said {self.stderr()[-500:]!r}")

    def wait_output(self, text, timeout=15):
        """Waits until `text` stands in its stdout or stderr."""

        def said():
            if text in self.stdout() or text in self.stderr():
                return True
            if not self.alive() and text not in self.stdout() + self.stderr():
                raise Failure(f"{self.name} ended with status {self.poll()} and never said {text!r}")
            return False

        wait_until(said, timeout, f"{text!r} from {self.name}")

    def signal(self, number):
        """Sends it a signal, e.g. signal.SIGINT."""
        self._popen.send_signal(number)

    def signal_group(self, number):
        """Sends a signal to its whole process group."""
        os.killpg(self.pid, number)

    def kill(self):
        """Ends it at once and waits for that."""
        self._popen.kill()
        self._popen.wait()


def process_status(pid, *names):
    """What /proc/PID/status says of these names, a dictionary of texts."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    found = {name: value.strip() for name, _, value in lines}
    return {name: found[name] for name in names}


def limits(pid, *names):
    """The soft limits of /proc/PID/limits with these names, a dictionary of texts."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return {name: line[26:47].strip() for name in names for line in lines if line.startswith(f"{name} ")}


def is_marked(folder, mark, home=None):
    """Whether the process of this folder in /proc was started with the mark. The environment of one that keeps its memory
    to itself can be read by root only: what its command line has to do with is the test's folder `home`."""
    try:
        return f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
    except PermissionError:
        return home is not None and f"{home}/".encode() in (folder / "cmdline").read_bytes()


def marked(mark, home=None):
    """[(pid, command line)] of the living processes that a test started, which have its mark in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if is_marked(folder, mark, home):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                found.append((int(folder.name), command))
        except OSError:  # it ended meanwhile, or is not ours
            continue
    return found


def end_marked(mark, home=None):
    """Kills, by pid, every process with this mark, until there is none."""

    def gone():
        left = marked(mark, home)
        for pid, _ in left:
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                if any(pid == other for other, _ in marked(mark, home)):  # still the one that was meant
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            except ProcessLookupError:
                pass
            finally:
                os.close(handle)
        return not left

    wait_until(gone, 10, "end of the processes that the test left behind")
