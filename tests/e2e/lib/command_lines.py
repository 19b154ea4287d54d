# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/data/command-lines: pairs of QEMU command lines, and what differs when one is changed."""
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "data" / "command-lines"


class CommandLines:
    """One file of them: .name, .starts, .files {name: text}, .source and .destination (texts in the form of
    vms/VM.args, with @DIR@), .partners [(what is said, the other destination)]."""

    def __init__(self, path):
        self.name, self.starts, self.files, self.partners = path.name, False, {}, []
        parts = re.split(r"^@(?!DIR@)", path.read_text(), flags=re.MULTILINE)
        for part in parts[1:]:
            head, _, body = part.partition("\n")
            kind, _, rest = head.partition(" ")
            if kind == "file":
                self.files[rest] = body
            elif kind == "starts":
                self.starts = True
            elif kind in ("source", "destination"):
                setattr(self, kind, body)
            elif kind == "differs":
                old, _, new = body.split("\n")[0].partition(" =>")
                line = self.destination.replace("\n  ", " ")
                if old not in line:
                    raise ValueError(f"{path.name}: {old!r} is not in the destination's")
                self.partners.append((rest, line.replace(old, new.removeprefix(" "))))

    def place(self, folder):
        """Writes the files; returns how to make a text of it."""
        for name, text in self.files.items():
            (folder / name).write_text(text)
        for name in ("disk.raw", "cd.iso"):
            with (folder / name).open("wb") as disk:
                disk.truncate(1 << 20)
        return lambda text: text.replace("@DIR@", str(folder))


def all_of_them():
    """Every file, by name."""
    return [CommandLines(path) for path in sorted(FOLDER.iterdir()) if not path.suffix]
