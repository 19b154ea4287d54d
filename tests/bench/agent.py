# SPDX-License-Identifier: GPL-3.0-or-later
"""How many requests an agent answers, each a mutual TLS connection of its own with a signed question and a signed answer,
beside how many bare handshakes `openssl s_server` does with the same keys. All of them share this machine's CPUs."""
import re
import subprocess

from lib.harness import wait_until
from lib.process import free_port
from measure import Run, Unable, cpu_seconds, helper, interleave, median, ratio
from report import goal, table
from test_agent import Agent

SECONDS = 2  # of a turn of s_time
REQUESTS = 500  # of a turn of peer-calls


class Rates:
    """Each turn gives (connections a second, ms of the server's CPU for each)."""

    def __init__(self, t):
        self.t = t
        self.agent = Agent(t)
        self.port = free_port()
        keys = [self.agent.b.home / "config" / f"identity.{end}" for end in ("crt", "key")]
        words = ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", keys[0], "-key", keys[1]]
        words += ["-tls1_3", "-Verify", "1", "-verify_quiet", "-quiet", "-num_tickets", "0"]
        self.server = t.start(*words, name="s_server", stdin=subprocess.PIPE)
        wait_until(self.listens, 10, "s_server that listens")

    def listens(self):
        done = subprocess.run(["ss", "-Htln", f"sport = :{self.port}"], capture_output=True, text=True, check=False)
        return bool(done.stdout.strip())

    def handshakes(self, port, pids):
        """openssl s_time, one connection after the other, closed as soon as it is there."""
        config = self.agent.a.home / "config"
        words = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-tls1_3", "-time", SECONDS]
        said = self.t.dir / "s_time.out"
        before = cpu_seconds(*pids)
        # What it says of the time is in whole seconds.
        run = Run([*words, "-cert", config / "identity.crt", "-key", config / "identity.key"], output=said)
        spent = cpu_seconds(*pids) - before
        found = re.search(r"(\d+) connections in", said.read_text())
        if not found or int(found[1]) == 0:
            raise Unable(f"s_time: {said.read_text()[-300:]}")
        count = int(found[1])
        return count / run.seconds, spent / count * 1e3

    def requests(self, at_once):
        """tests/peer_calls.c: libcurl, as all of our clients, but a process for all."""
        before = cpu_seconds(*self.agent.pids())
        said = self.agent.calls(REQUESTS, at_once=at_once)
        spent = cpu_seconds(*self.agent.pids()) - before
        if said["statuses"] != {"76": REQUESTS}:
            raise Unable(f"the agent: {said}")
        return REQUESTS / said["total_ms"] * 1e3, spent / REQUESTS * 1e3


def run(t, options):
    helper(t, options, "peer-calls")
    t.fresh("agent")
    rates = Rates(t)
    ways = {
        "openssl s_server, handshakes": lambda: rates.handshakes(rates.port, [rates.server.pid]),
        "agent, handshakes": lambda: rates.handshakes(rates.agent.port, rates.agent.pids()),
        "agent, requests": lambda: rates.requests(1),
        "agent, requests, 4 at once": lambda: rates.requests(4),
    }
    rounds = max(3, options.rounds // 2)
    samples = interleave(ways, rounds)
    rates.agent.stop()
    base = samples["openssl s_server, handshakes"]
    for name in ("agent, requests", "agent, requests, 4 at once"):
        rate = ratio([one[0] for one in samples[name]], [one[0] for one in base])
        goal(f"{name}: beside the handshakes of s_server", rate, 0.6, at_least=True)
    rows = []
    for name, got in samples.items():
        of = lambda which, of=got: [sample[which] for sample in of]
        rows.append([
            *(name, f"{median(of(0)):.0f}", f"{ratio(of(0), [one[0] for one in base]):.2f}"),
            *(f"{median(of(1)):.3f}", f"{ratio(of(1), [one[1] for one in base]):.2f}"),
        ])
    heads = ["", "a second", "ratio", "server's CPU ms each", "ratio"]
    table(f"agent: connections, TLS 1.3, both sides with an Ed25519 certificate; medians of {rounds} rounds", heads, rows)
