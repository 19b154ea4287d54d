# SPDX-License-Identifier: GPL-3.0-or-later
"""What people see on a terminal: tables no wider than it; and in a pipe the same lines whatever the terminal is."""
import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import termios

from lib.harness import check, check_equal, check_in, test
from lib.pair import VM, Pair
from test_baseline import Desk

COLOURS = re.compile(r"\033\[[0-9;]*m")


def on_terminal(t, argv, columns, env=None):
    """(lines without colours, exit status) of a program on a terminal so wide; 0: one that does not know its width."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = t.environment({"COLUMNS": None, **(env or {})})
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=its, stderr=its, env=environment) as process:
        os.close(its)
        said = b""
        while True:
            try:
                said += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        status = process.wait(30)
    os.close(ours)
    return COLOURS.sub("", said.decode()).replace("\r\n", "\n").splitlines(), status


def check_fits(lines, columns, what):
    """No line is wider than the terminal."""
    check_equal([line for line in lines if len(line) > columns], [], f"{what}: lines over {columns} columns")
    check_equal([line for line in lines if line != line.rstrip()], [], f"{what}: lines that end with blanks")


def words_of(lines):
    """All words, wherever lines are broken."""
    return " ".join(lines).split()


def arguments(t, lines):
    """[-cpu] as a shell reads what a person copies from behind "-cpu "."""
    found = []
    for number, line in enumerate(lines):
        if "-cpu " not in line:
            continue
        text = line.split("-cpu ", 1)[1]
        while text.endswith("\\"):
            number += 1
            text = f"{text}\n{lines[number]}"
        found.append(t.run("sh", "-c", f"printf '%s|' {text}", check=0).stdout.removesuffix("|"))
    return found


@test(timeout=90)
def baseline_table(t):
    """the table of hosts with names above columns, with numbers, as lists; the width the terminal's, else COLUMNS, else 80"""
    desk = Desk(t)
    lost = ["smap", "clwb", "adx", "erms"]
    made = [desk.profile(f"machine-{number}", without=lost[: number % 3]) for number in range(8)]
    made += [desk.profile(f"rack-{number}-machine-of-a-long-name.example", without=lost[3:]) for number in range(20)]
    files = desk.files(*made)
    yes = {True: "qemu", False: "yes"}
    expected = [yes[number % 3 > 0] for number in range(8)]
    for count, columns, heading in (
        (3, 80, "FEATURE  machine-0  machine-1  machine-2"),
        (8, 80, "FEATURE  [1]   [2]   [3]   [4]   [5]   [6]   [7]   [8]"),
        (8, 120, "FEATURE  machine-0  machine-1"),
        (8, 40, "FEATURE  LACKED BY"),
        (28, 80, "FEATURE  LACKED BY"),
    ):
        argv = desk.host.argv("baseline", "--cpu-form", "base", *files[:count])
        lines, status = on_terminal(t, argv, columns)
        what = f"{count} hosts on {columns} columns"
        check_equal(status, 0, what)
        check_fits(lines, columns, what)
        at = next(number for number, line in enumerate(lines) if line.startswith("FEATURE"))
        check(lines[at].startswith(heading), f"{what}: heading {lines[at]!r}")
        row = lines[at + 1].split()
        numbered = "LACKED" in heading or "[1]" in heading
        if "LACKED" in heading:
            check_equal(row, ["smap", "qemu:", *(str(n + 1) for n in range(8) if n % 3)], f"{what}: row of smap")
        else:
            check_equal(row, ["smap", *expected[:count]], f"{what}: row of smap")
        legend = [line for line in lines[:at] if line.startswith("[")]
        names = [one["cpu"]["host"] for one in made[:count]]
        check_equal(legend, [f"[{n + 1}] {name}" for n, name in enumerate(names)] if numbered else [], f"{what}: legend")
        # What goes to a command line is copied whole; hosts with the same -cpu are told together.
        document = desk.document("--cpu-form", "base", *files[:count])
        cpus = list(dict.fromkeys(one["cpu"] for one in document["hosts"]))
        check_equal(arguments(t, lines), cpus, f"{what}: -cpu")
        for name in names:
            check_in(name, "\n".join(lines), what)
        kept = f"{len(document['features'])} features for all"
        check_in(kept, " ".join(words_of(lines)), what)

    argv = desk.host.argv("baseline", "--cpu-form", "base", *files)
    narrow, _ = on_terminal(t, argv, 0, {"COLUMNS": "50"})
    check_fits(narrow, 50, "COLUMNS=50 on a terminal that does not know")
    check(any(len(line) > 40 for line in narrow), "COLUMNS=50: lines are shorter than they need be")
    for wrong in (None, "", "0", "x", "-3"):
        lines, _ = on_terminal(t, argv, 0, {"COLUMNS": wrong})
        check_fits(lines, 80, f"COLUMNS={wrong}")
        check(any(len(line) > 70 for line in lines), f"COLUMNS={wrong}: not 80 columns")
    lines, _ = on_terminal(t, argv, 100, {"COLUMNS": "40"})
    check(any(len(line) > 80 for line in lines), "COLUMNS is asked though the terminal knows")

    # In a pipe: a line each, whatever the terminal is.
    plain = desk.run("--cpu-form", "base", *files, check=0).stdout
    for columns in ("20", "200"):
        said = desk.run("--cpu-form", "base", *files, check=0, env={"COLUMNS": columns}).stdout
        check_equal(said, plain, f"standard output in a pipe with COLUMNS={columns}")
    lines = plain.splitlines()
    cpus = [line.split(": -cpu ", 1) for line in lines if ": -cpu " in line]
    check_equal([name for name, _ in cpus], [one["cpu"]["host"] for one in made], "a line for the -cpu of each host")
    check_equal([line.split()[1:9] for line in lines if line.startswith("smap ")], [expected], "the row of smap in a pipe")
    check_equal(sum(line.startswith("SECURITY smap: ") for line in lines), 1, "the meaning of smap in a pipe, on one line")


@test(timeout=90)
def trust_table(t):
    """trust list: on a terminal no wider than that, in a pipe a line for each pin"""
    host = t.host("a")
    host.run("identity", "init", check=0)
    pin = host.run("identity", "show", check=0).stdout.strip()
    check_equal(on_terminal(t, host.argv("trust", "list"), 80), ([], 0), "trust list of none")
    other = "sha256//" + "A" * 42 + "A="
    host.run("trust", "add", "b", pin, "--address", "b.example:17000", "--expires", "2020-01-31", check=0)
    host.run("trust", "add", "b", other, check=0)
    third = "sha256//" + "B" * 42 + "A="
    host.run("trust", "add", "machine-with-a-name", third, "--address", "[fe80::1]:16515", check=0)
    plain = host.run("trust", "list", check=0, env={"COLUMNS": "20"}).stdout.splitlines()
    check_equal(len(plain), 3, "lines in a pipe")
    check_equal(plain[0].split()[:2], ["b", pin], "the first line in a pipe")
    check_in("[fe80::1]:16515  expires never", plain[2], "the last line in a pipe")
    for columns in (66, 80, 100, 200):
        lines, status = on_terminal(t, host.argv("trust", "list"), columns)
        check_equal(status, 0, f"trust list on {columns} columns")
        check_fits(lines, columns, f"trust list on {columns} columns")
        words = words_of(lines)
        for word in (*(word for line in plain for word in line.split()), *((["NAME"] if columns == 200 else []))):
            check_in(word, words, f"trust list on {columns} columns")
        check_equal(words.count(other), 1, f"pins on {columns} columns")
        check_equal(len(lines) == 3, columns == 200, f"a line for each on {columns} columns")
    check_equal(lines[0].split(), ["NAME", "ADDRESS", "END", "PIN"], "titles")


@test(timeout=90)
def agreement_tables(t):
    """agreement show and list: on a terminal no wider than that, in a pipe a line for each thing"""
    pair = Pair(t)
    a, _ = pair.launch("--cpu-form", "base")
    cpu = a.argv[a.argv.index("-cpu") + 1]
    show, listed = pair.a.argv("agreement", "show", VM), pair.a.argv("agreement", "list")
    plain = pair.a.run("agreement", "show", VM, check=0, env={"COLUMNS": "20"}).stdout
    digest = next(line for line in plain.splitlines() if line.startswith("Digest "))
    check_equal(sum(bool(re.match(r"\d+ features +\S", line)) for line in plain.splitlines()), 1, "line of features")
    check(max(map(len, plain.splitlines())) > 400, "lines in a pipe are wrapped")
    check(not any(line.startswith(" ") for line in plain.splitlines() if "asked for" not in line), "a line that goes on")
    check_in(f"-cpu          {shlex.quote(cpu)}", plain, "show in a pipe")
    row = pair.a.run("agreement", "list", check=0, env={"COLUMNS": "20"}).stdout.splitlines()
    check_equal(len(row), 2, "lines of list in a pipe")
    for columns in (70, 80, 132):
        lines, status = on_terminal(t, show, columns)
        check_equal(status, 0, f"show on {columns} columns")
        check_fits(lines, max(columns, len(digest)), f"show on {columns} columns")
        check_equal(arguments(t, lines), [cpu], f"-cpu on {columns} columns")
        at = next(number for number, line in enumerate(lines) if line.startswith("-cpu"))
        want = plain[: plain.index("\n-cpu")].split()
        check_equal(words_of(lines[:at]), want, f"words of show on {columns} columns")
    for columns in (40, 80, 200):
        lines, status = on_terminal(t, listed, columns)
        check_equal(status, 0, f"list on {columns} columns")
        check_fits(lines, columns, f"list on {columns} columns")
        for word in row[1].split():
            check_in(word, words_of(lines), f"list on {columns} columns")
        check_equal(len(lines) == 2, columns > 40, f"a line for each on {columns} columns: {lines}")
