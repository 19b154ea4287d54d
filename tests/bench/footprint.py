# SPDX-License-Identifier: GPL-3.0-or-later
"""What the program takes up: file, libraries, memory, and the time until it can do anything."""
import os
import subprocess
import time
from pathlib import Path

from lib.pair import Launched
from measure import Run, Unable, difference, interleave, median, memory_kib
from report import table
from test_agent import Agent


def sizes(t, program):
    stripped = t.dir / "stripped"
    done = subprocess.run(["strip", "-o", stripped, program], check=False)
    rows = [["binary, KiB", f"{program.stat().st_size / 1024:.0f}"]]
    if done.returncode == 0:
        rows.append(["binary, stripped, KiB", f"{stripped.stat().st_size / 1024:.0f}"])
    return rows


def libraries(path):
    """How many shared objects the loader maps for it, the loader itself too."""
    environment = {**os.environ, "LD_TRACE_LOADED_OBJECTS": "1"}
    done = subprocess.run([path], capture_output=True, text=True, check=False, env=environment)
    return sum("/" in line for line in done.stdout.splitlines())


def memory_at_exec(agent, vm):
    """(resident, its peak) of a launch as it was last seen before it became QEMU, looked at all the time: KiB. What is read
    counts when the file that is executed is the program's still, afterwards: memory and that file are replaced as one."""
    t = agent.t
    guest = [t.qemu_path, "-machine", "q35,accel=tcg", "-m", "256", "-nodefaults", "-display", "none"]
    process = agent.a.start("-q", "--vm", vm, "--peer", "b", "--no-proof", "--", *guest, name=vm)
    program, seen = os.path.realpath(t.program), None
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            text = Path(f"/proc/{process.pid}/status").read_text()
            path = os.readlink(f"/proc/{process.pid}/exe")
        except OSError:
            break
        if path == program:
            fields = dict(line.split(":", 1) for line in text.splitlines())
            seen = int(fields["VmRSS"].split()[0]), int(fields["VmHWM"].split()[0])
        elif seen:
            break
    Launched(agent.a, process, "a")
    process.kill()
    if not seen:
        raise Unable("the launch was not seen")
    return seen


def run(t, options):
    t.fresh("print")
    program = t.program
    rows = sizes(t, program)
    rows.append(["shared libraries", libraries(program)])
    rows.append(["shared libraries of QEMU", libraries(t.qemu_path)])
    ways = {
        "true": lambda: Run(["true"]),
        "ours": lambda: Run([program, "--version"]),
        "qemu": lambda: Run([t.qemu_path, "--version"]),
    }
    samples = interleave(ways, 4 * options.rounds)
    of = {name: [one.seconds * 1e3 for one in runs] for name, runs in samples.items()}
    rows.append(["--version, ms", f"{median(of['ours']):.2f}"])
    rows.append(["  more than true(1), ms", f"{difference(of['ours'], of['true']):+.2f}"])
    rows.append(["  QEMU's --version, ms", f"{median(of['qemu']):.2f}"])
    agent = Agent(t)
    for name, pid in zip(("worker", "network"), agent.pids()):
        resident, share = memory_kib(pid, "VmRSS"), memory_kib(pid, "Pss", "smaps_rollup")
        own = memory_kib(pid, "Private_Dirty", "smaps_rollup")
        rows.append([f"idle agent, {name}: resident (its share; private), KiB", f"{resident} ({share}; {own})"])
    memory_at_exec(agent, "first")  # QEMU is asked, and remembered
    resident, peak = memory_at_exec(agent, "second")
    agent.stop()
    rows.append(["launch when it becomes QEMU: resident (peak), KiB", f"{resident} ({peak})"])
    table("footprint", ["", ""], rows)
