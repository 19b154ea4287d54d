# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bench has to say: tables and notes as they come, the goals at the end, and all of it into doc/PERFORMANCE.md."""
import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "doc" / "PERFORMANCE.md"
PLACE = re.compile(r"(<!-- bench: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

_said = {}  # {section: [line]}
_goals = []  # rows of the table of goals
_section = ["machine"]


def begin(section):
    """What is said from now on belongs there."""
    _section[0] = section
    _said[section] = []


def resume(section):
    """More of a section that was begun."""
    _section[0] = section


def say(text):
    """Prints a line, and keeps it for the document."""
    print(text, flush=True)
    _said.setdefault(_section[0], []).append(text)


def table(title, heads, rows):
    """Rows of words below their heads; the first column to the left, the others to the right."""
    lines = [heads, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    say(f"\n{title}")
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        say("  ".join([line[0].ljust(widths[0]), *cells]).rstrip())


def note(text):
    """A line below a table."""
    say(f"  {text}")


def goal(what, value, limit, form=".2f", at_least=False):
    """One of the project's goals, and what came out."""
    met = value >= limit if at_least else value <= limit
    _goals.append([what, f"{value:{form}}", f"{'at least' if at_least else 'at most'} {limit}", "met" if met else "NOT MET"])


def tell_goals():
    """The table of all goals whose parts were run."""
    begin("goals")
    if _goals:
        table("goals", ["", "measured", "wanted", ""], _goals)


def write(path=DOCUMENT):
    """Puts what was said into the document's places; those of parts that were not run stay as they are."""

    def fill(found):
        lines = _said.get(found[2])
        if not lines:
            return found[0]
        text = "\n".join(lines).strip("\n")
        return f"{found[1]}```\n{text}\n```\n{found[4]}"

    path.write_text(PLACE.sub(fill, path.read_text()))
