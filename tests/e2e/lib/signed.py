# SPDX-License-Identifier: GPL-3.0-or-later
"""What the program signs, in the order in which it does: tests/record_signed.c writes it down.

    signed = Signed(t)
    host.env.update(signed.env)
    signed.check()  # payloads of messages
"""
import json
import os
import sys
from pathlib import Path

from .schema import check_document, decode, mistakes, statements
from .wait import Failure, Skip

MESSAGE = "qemu-migrate-launch-message+json"
ROOM = 32 << 20  # sparse


class Signed:
    """The file, and the environment that has a program write to it."""

    def __init__(self, t):
        t.need_plain("a library before theirs")
        places = [Path(os.environ.get(name) or "/nowhere").parent for name in ("QML_PROGRAM", "QML_BAD_PEER")]
        found = [place / "record-signed.so" for place in places if (place / "record-signed.so").exists()]
        if not found:
            raise Skip("record-signed.so is neither beside the program nor beside QML_BAD_PEER")
        self.path = t.dir / "signed"
        with self.path.open("wb") as file:
            file.truncate(ROOM)
        self.env = {"LD_PRELOAD": str(found[0]), "QML_SIGNED": str(self.path)}

    def check(self):
        """Failure unless all of it is as the schemas say. The payloads of the messages are returned."""
        messages = []
        written = self.path.read_bytes()
        length = int.from_bytes(written[:8], sys.byteorder)
        for line in written[8 : 8 + length].decode().splitlines():
            header, payload = (json.loads(decode(part)) for part in line.split("."))
            wrong = mistakes(header, "envelope-header")
            if wrong:
                raise Failure(f"a header that is not as in the schema: {wrong}")
            what = f"{payload.get('role', '')} {payload.get('name', header['typ'])}"
            check_document(payload, statements()[header["typ"]], what)
            if header["typ"] == MESSAGE:
                messages.append(payload)
        return messages
