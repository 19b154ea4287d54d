# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that are played again and again, each time with another call that fails, and what must be true afterwards."""
import json
import os
import re
import time
from dataclasses import dataclass

from .injection import LASTING, Injection, by_own_frames, sample
from .process import end_marked
from .wait import Failure

DOCUMENTED = {0, 10, 11, 12, 13, 14, 64, 65, 69, 70, 73, 76, 77, 78}  # EXIT STATUS of the manual page
NEWS = ("warning: ", "waiting for ", "agreed ", "lost (", "debug: ")
NEAR = 400
TRIES = 10  # of a peer that tries again: a line for each
# Where a library cannot bear it. new_connection: libevent 2.1's bufferevent_openssl_socket_new frees what is half made;
# the program looks whether there is memory before.
UNSOUND = ("new_connection",)


@dataclass
class Played:
    """What came of one run: exit status, output, and what the case itself found wrong."""

    status: int
    stdout: str
    stderr: str
    problems: list
    seconds: float = 0.0
    fired: int = 0

    def errors(self, good=None):
        """The lines of the program's that say what is wrong; good: a run where all went well, whose lines do not count."""
        known = good.errors() if good else []
        lines = re.findall(r"^(?:\d{4}-\S+ )?qemu-migrate-launch: (.*)$", self.stderr, re.M)
        return [line for line in lines if line not in known and not re.sub(r"^web\d+: ", "", line).startswith(NEWS)]


class Case:
    """One command with all that stands around it. Subclasses: __init__ (makes hosts), command (runs it, returns Played)."""

    bound = 30  # seconds that a run may take
    several = False  # whether a failure may have more than one
    silent = False  # whether a failure may have no message: the process has no standard error of ours

    wanted = 0  # exit status without a fault
    no_memory = {0, 69, 70, 76}  # exit statuses when memory lacks; within OpenSSL's handshake that is not known for sure

    def __init__(self, t):
        self.t = t
        self.injection = Injection(t)
        self.hosts = []
        self.good = None

    def command(self, env):
        """Plays it once, with this environment for the process that the faults are for."""
        raise NotImplementedError

    def run(self, host, *words, env=None, status_of=None):
        """Runs the program to its end."""
        began = time.monotonic()
        done = self.t.run(*host.argv(*words), timeout=self.bound, env={**host.env, **(env or {})})
        return Played(done.returncode, done.stdout, done.stderr, [], time.monotonic() - began)

    def play(self, prepare):
        """Once: `prepare` arms the injection; what this makes of a run that does not end is a problem, too."""
        self.t.processes[:] = [process for process in self.t.processes if process.alive()]
        before = list(self.t.processes)
        prepare()
        try:
            played = self.command(self.injection.env)
        except Failure as failure:
            played = Played(-999, "", "", [f"it hangs, or worse: {failure}"])
            for process in self.t.processes:
                if process not in before and process.alive():
                    process.kill()
        played.fired = played.fired or self.injection.fired()
        return played

    def begin(self):
        """Caches are warm, and what a good run is like is known; the sites that there are."""
        for _ in range(2):
            played = self.play(self.injection.rest)
            if played.status != self.wanted or played.problems:
                raise Failure(f"without a fault: status {played.status}, {played.problems}: {played.stderr[-800:]}")
        self.good = self.play(self.injection.count)
        if self.good.status != self.wanted or self.good.problems:
            raise Failure(f"while it is counted: {self.good.status}, {self.good.problems}: {self.good.stderr[-800:]}")
        return self.injection.sites()

    # What must be true.

    def left_files(self):
        """Files that are half-written, or left over."""
        found = []
        for host in self.hosts:
            for path in host.home.rglob("*"):
                if ".tmp." in path.name:
                    found.append(f"{path} is left")
                elif path.suffix == ".json" and path.is_file():
                    text = path.read_text()
                    documents = text.splitlines() if path.parent.name == "statements" else [text]  # doc/FORMATS.md
                    try:
                        [json.loads(document) for document in documents]
                    except ValueError as reason:
                        found.append(f"{path} is damaged: {reason}")
        return found

    def faulty(self, site, mode):
        """Plays it with this fault and says what is wrong with what came of it."""
        played = self.play(lambda: self.injection.fail(site, mode, near=NEAR))
        if not played.fired and not played.problems:  # other calls came before it this time
            played = self.play(lambda: self.injection.fail(site, mode))
        problems = played.problems
        if played.status not in DOCUMENTED:
            problems.append(f"status {played.status}")
        elif played.status and not self.silent and played.status != self.wanted:
            count = len(played.errors(self.good))
            if not 1 <= count <= (TRIES if self.several else 1):
                problems.append(f"status {played.status} with {count} messages")
        if "does not say why" in played.stderr:
            problems.append("an error without a message")
        if site.kind == "alloc" and played.status not in self.no_memory:
            problems.append(f"status {played.status} where memory is what lacks")
        if played.status == 0 and self.good.stdout != played.stdout:
            problems.append("status 0, but it says something else than without the fault")
        if site.function != "unlink" and not mode.endswith(LASTING):
            problems += self.left_files()
        return played

    def after(self):
        """Plays it without a fault: all must be well again."""
        played = self.play(self.injection.rest)
        if played.status != self.wanted or played.stdout != self.good.stdout:
            played.problems.append(f"the next try: status {played.status}: {played.stderr[-300:]}")
        return played.problems


@dataclass
class Result:
    """What one fault did."""

    kind: str
    mode: str
    where: str
    status: int
    said: str
    fired: int
    seconds: float
    problems: list


def sweep(case, most=None, seed=1, modes=None, kinds=None, report=None, seen=None, choose=by_own_frames):
    """Plays each site of the case in each mode of its class (most: only so many, the same for a seed); returns Results.

    seen: a set of what was played by other cases, which is left out. report: a file that gets a line for each.
    """
    sites = choose(case.begin())
    plan = [(site, mode) for site in sites for mode in site.modes if (not modes or mode in modes) and (not kinds or site.kind in kinds)]
    plan = [(site, mode) for site, mode in plan if seen is None or (site.own, mode) not in seen]
    if seen is not None:
        seen.update((site.own, mode) for site, mode in plan)
    if most is not None:
        plan = sample(plan, seed, most)
    results = []
    for site, mode in plan:
        where = case.injection.where(site)
        if any(f" {name} " in where for name in UNSOUND):
            continue
        played = case.faulty(site, mode)
        if played.problems or played.status != case.wanted:
            played.problems += case.after()
        said = (played.errors(case.good) or [""])[-1]
        results.append(Result(site.kind, mode, where, played.status, said, played.fired, played.seconds, played.problems))
        if report:
            report.write(json.dumps({"case": type(case).__name__, **vars(results[-1])}) + "\n")
            report.flush()
    return results
