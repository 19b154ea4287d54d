# SPDX-License-Identifier: GPL-3.0-or-later
"""What documents name is there: files and folders, functions and tables, targets of make, options of scripts, chapters."""
import re
from pathlib import Path

from lib.harness import check, check_equal, test

TOP = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "NEWS", "SECURITY.md", "doc/HACKING.md", "doc/SECURITY.md", "doc/PROTOCOL.md", "doc/FORMATS.md", "doc/POOL.md",
             "doc/PERFORMANCE.md", "doc/FAULTS.md", "doc/MODELS.md", "tests/data/README.md",
             "tests/data/command-lines/README.md")
# Names in these two are those of the source; the others write about files of hosts, too.
OF_SOURCE = ("README.md", "doc/HACKING.md")
FOLDERS = ("src", "tests", "doc", "man", "contrib", "debian", ".ci")  # a path that begins with one is of the source
INSIDE = ("", "src", "src/*", "tests/*", "tests/e2e/lib", "tests", "contrib", "doc")  # from where paths count
SUFFIXES = ("c", "h", "S", "py", "md", "def", "pod", "in", "supp")
NOT_OURS = {"resolv.conf", "logind.conf"}
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}(?:_[A-Z]+)*\b")


def find(name):
    """Whether a file or folder of the source has this name; capitals and * stand for anything."""
    pattern = re.sub(r"NAME|GROUP|FOLDER|FILE|PROGRAM|VERSION|COMMAND", "*", name).strip("/").removeprefix("../")
    return any(next(TOP.glob(f"{folder}/{pattern}".strip("/")), None) for folder in INSIDE)


def quoted(text):
    """The words in `backticks`, and the lines of indented blocks."""
    return re.findall(r"`([^`\n]+)`", text), re.findall(r"^ {4,}(\S.*)$", text, re.M)


def paths(text):
    """What looks like a file or folder of the source in a document."""
    words, lines = quoted(text)
    for word in " ".join([*words, *lines]).split():
        word = word.strip("\"'(),;:`$").rstrip(".")
        first, _, rest = word.partition("/")
        if first in FOLDERS and rest and re.fullmatch(r"[\w.*/+-]+", word):
            yield word
    for word in words:
        if re.fullmatch(rf"[\w*/-]+\.(?:{'|'.join(SUFFIXES)})", word) and word not in NOT_OURS:
            yield word


@test()
def files(t):
    """files and folders that README.md and HACKING.md name, and all that any document links to"""
    wrong = []
    for document in DOCUMENTS:
        text = (TOP / document).read_text()
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, chapter = target.partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            there = (TOP / document).parent / path if path else TOP / document
            if not there.exists():
                wrong.append(f"{document}: a link to {target}")
            elif chapter and chapter not in chapters(there.read_text()):
                wrong.append(f"{document}: a link to {target}, which has no such chapter")
        names = sorted(set(paths(text))) if document in OF_SOURCE else []
        check(len(names) > 5 or document not in OF_SOURCE, f"{document} names no files any more: {names}")
        wrong += [f"{document}: {name}" for name in names if not find(name)]
    house = (TOP / "doc/HACKING.md").read_text().split("```")[1]
    folders = {path.name for path in (TOP / "src").iterdir() if path.is_dir()}
    shown = set(re.findall(r"^  (\w+)/", house, re.M))
    check_equal(folders ^ shown, set(), "folders of src/ and those in the picture of the house")
    wrong += floors(house)
    check_equal(wrong, [], "what is not there")


def floors(house):
    """What of the picture is not so: a folder may include (tests/check-layers) only those on the floors below it."""
    table = re.findall(r"^    \[(\w+)\]=\"(.*)\"$", (TOP / "tests/check-layers").read_text(), re.M)
    check(len(table) > 10, f"check-layers has no table any more: {table}")
    floor = {}
    for number, part in enumerate(house.split("----\n")):
        floor.update((name, number) for name in re.findall(r"^  (\w+)/", part, re.M))
    return [f"the house: {name}/ stands on {other}/" for name, others in table for other in others.split()
            if floor[other] <= floor[name]]


def chapters(text):
    """The anchors of a document's headings."""
    found = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def everything():
    """The source's text, in which a name stands if it is there."""
    text = []
    for folder in "src", "tests", "contrib", ".ci":
        for path in sorted((TOP / folder).rglob("*")):
            if path.is_file() and path.suffix in (".c", ".h", ".S", ".def", ".py", ".inc", "") and "seeds" not in path.parts:
                text.append(path.read_text(errors="replace"))
    return "\n".join([*text, (TOP / "Makefile.am").read_text(), (TOP / "configure.ac").read_text()])


@test()
def names(t):
    """functions, tables and numbers that HACKING.md names; targets of make and options of scripts in it and in README.md"""
    text = (TOP / "doc/HACKING.md").read_text()
    source = everything()
    known = set(re.findall(r"\w+", source))
    words, _ = quoted(text)
    wanted = {name for word in words for name in re.findall(r"^\w+$|\b\w+(?=\(\))", word) if "_" in name.strip("_")}
    wanted = {name for name in wanted if not PLACEHOLDER.fullmatch(name) or "_" in name}
    check(len(wanted) > 20, f"HACKING.md names nothing any more: {sorted(wanted)}")
    wrong = [name for name in sorted(wanted) if not any(fits(name, one) for one in known)]
    makefile = (TOP / "Makefile.am").read_text()
    for document in OF_SOURCE:
        words, lines = quoted((TOP / document).read_text())
        for command in words + lines:
            for target in re.findall(r"(?:^|&& )make (?:-\w+ ?\d* )*([a-z][a-z-]*)\b", command):
                if target not in ("install", "check", "distcheck", "dist") and not re.search(rf"^{target}:|PROGRAMS.*\b{target}\b", makefile, re.M):
                    wrong.append(f"{document}: make {target}")
            script = re.match(r"(?:\S*/)?((?:tests|contrib|\.ci)/[\w/-]+)((?: \S+)*)", command)
            if script and (TOP / script[1]).is_file():
                said = (TOP / script[1]).read_text(errors="replace")
                if script[1] in ("tests/run", ".ci/run"):
                    said += (TOP / "tests/run").read_text()
                for option in re.findall(r" (--?[a-z][a-z-]*)", script[2].split(" -- ")[0]):
                    if not re.search(rf"(?<![\w-]){option}\b", said) and not parsed(said, option):
                        wrong.append(f"{document}: {script[1]} {option}")
    check_equal(wrong, [], "what is not there")


def fits(name, other):
    """NAME in a name stands for anything."""
    return re.fullmatch(re.escape(name).replace("NAME", r"\w+"), other) if "NAME" in name else name == other


def parsed(script, option):
    """Whether a script takes an option that its text does not have: -x by getopts, --help of argparse's."""
    if option == "--help":
        return "argparse.ArgumentParser" in script
    return len(option) == 2 and re.search(rf"getopts\s+\S*{option[1]}", script)
