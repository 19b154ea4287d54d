# SPDX-License-Identifier: GPL-3.0-or-later
"""What the program printed with --json, and the files that it keeps, held against their schemas."""
import fnmatch
import json
import os
import re
from pathlib import Path

from .schema import check_document, table
from .wait import Failure

NAME = "qemu-migrate-launch"
VALUES = ("--home", "--config", "--color")  # options before a command that have a value
LINES = "migrate"  # prints a document a line
BECOMES_QEMU = ("launch", "receive")  # which prints what it likes


def own_words(argv):
    """The words behind the program's name up to `--`, the command first; None when the program is not started here."""
    names = {NAME, *(Path(os.environ.get(one, NAME)).name for one in ("QML_PROGRAM", "QML_PLAIN_PROGRAM"))}
    at = next((number for number, word in enumerate(argv) if Path(word).name in names), None)
    if at is None:
        return None
    words = argv[at + 1 :]
    words = words[: words.index("--")] if "--" in words else words
    first = 0
    while first < len(words) and words[first].startswith("-"):
        first += 2 if words[first] in VALUES else 1
    commands = {row.words[0].split()[0] for row in table("command")}
    if first < len(words) and words[first] in commands:
        return [words[first], *words[:first], *words[first + 1 :]]
    return ["launch", *words]


def row_of(words):
    """The row of FORMATS for these words of a command line, and the words that it names: the most that are there."""
    fitting = [
        (len(named.split()), row, named)
        for row in table("command")
        for named in row.words
        if named.split()[0] == words[0] and set(named.split()) <= set(words)
    ]
    if not fitting:
        raise Failure(f"no row of doc/FORMATS.md for what is printed by {' '.join(words)}")
    return max(fitting, key=lambda found: found[0])[1:]


def check_output(argv, status, text):
    """Failure unless what the program printed with --json is as doc/FORMATS.md says; nothing is said of others."""
    words = own_words(argv)
    if words is None or status < 0 or "--json" not in words or {"--help", "-h", "--version"} & set(words):
        return
    row, named = row_of(words)
    what = f"what {named} --json prints"
    lines = text.splitlines()
    if row.schema is None:
        if lines and named not in BECOMES_QEMU:
            raise Failure(f"{what}: nothing, says doc/FORMATS.md, and not {text[:200]!r}")
        return
    if not lines and (status != 0 or named in BECOMES_QEMU):
        return
    if len(lines) != 1 and not (named == LINES and lines):
        raise Failure(f"{what}: one line, not {len(lines)}: {text[:200]!r}")
    for line in lines:
        check_document(json.loads(line), row.schema, what)


def check_outputs(processes):
    """The same of all that a test has started and that has ended."""
    for process in processes:
        status = process.poll()
        if status is not None and "--json" in process.argv:
            check_output(process.argv, status, process.stdout())


# Files. VM, NAME and KEY stand for any name.


def _pattern(word):
    folder, _, rest = word.partition("/")
    return folder.lower() + "/" + re.sub(r"\b(VM|NAME|KEY)\b", "*", rest)


def check_files(host):
    """Failure unless every file of the host's home is one of doc/FORMATS.md, and as its schema says. How many there
    are of each schema, {NAME: number}."""
    patterns = [(_pattern(word), row) for row in table("file") for word in row.words]
    seen = {}
    for path in sorted(host.home.rglob("*")):
        name = str(path.relative_to(host.home))
        if path.is_dir() or name.startswith("run/"):
            continue
        rows = [row for pattern, row in patterns if fnmatch.fnmatchcase(name, pattern)]
        if not rows:
            raise Failure(f"doc/FORMATS.md says nothing of the file {name}")
        schemas = rows[0].schemas
        parts = [path.read_text()] if len(schemas) == 1 else path.read_text().splitlines() if schemas else []
        if len(parts) != len(schemas):
            raise Failure(f"{name} has {len(parts)} lines, not {len(schemas)}")
        for schema, part in zip(schemas, parts):
            try:
                document = json.loads(part)
            except ValueError as reason:
                raise Failure(f"{name} is not JSON: {reason}: {part[:400]!r}") from None
            check_document(document, schema, name)
            seen[schema] = seen.get(schema, 0) + 1
    return seen
