# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that a test runs in."""
import os
import random
import signal
import sys
import traceback


class Child:
    """A test's process: a copy of this one, which has read all tests already."""

    def __init__(self, work, log):
        sys.stdout.flush()
        sys.stderr.flush()
        self.status, self.cpu = None, 0.0
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY), (2, log, os.O_WRONLY)):
                    opened = os.open(path, flags | os.O_CREAT | os.O_APPEND, 0o600)
                    os.dup2(opened, number)
                    os.close(opened)
                random.seed()
                work()
                status = 0
            except BaseException:  # pylint: disable=broad-except (whatever it is, it must not go on as the runner)
                traceback.print_exc()
            finally:
                try:
                    sys.stdout.flush()
                    sys.stderr.flush()
                finally:
                    os._exit(status)  # pylint: disable=protected-access

    def wait(self, flags=0):
        """Its exit status (-N: ended by signal N), or None while it runs, with os.WNOHANG."""
        if self.status is None:
            pid, status, used = os.wait4(self.pid, flags)
            if pid:
                self.status, self.cpu = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        return self.status

    def kill(self):
        """Ends it at once and waits for that."""
        if self.wait(os.WNOHANG) is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
