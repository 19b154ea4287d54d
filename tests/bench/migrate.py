# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration costs: `migrate --direct` beside the same migration driven by hand over QMP, and `migrate` with its relay
beside QEMU's own TLS driven by hand. The guest writes memory all the time."""
import subprocess

from measure import interleave, median, ratio
from moves import BANDWIDTH, DOWNTIME, ByHand, Guest, Memory, Program
from report import goal, note, table

CHANNELS = 4  # of multifd
RATE = 64  # MiB that the guest writes over in a second
SIZES = (  # MiB that the guest writes over, part of the rounds, with multifd
    (988, 2, False),
    (4060, 4, True),
)


def make_keys(folder):
    """What tls-creds-x509 wants, with Ed25519 keys as the program's: an authority of its own and both ends."""
    folder.mkdir()

    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, cwd=folder)

    days = ("-days", "2")
    openssl("req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "ca-key.pem", "-out", "ca-cert.pem", "-subj", "/CN=bench",
            *days, "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    for end in ("server", "client"):
        openssl("req", "-newkey", "ed25519", "-nodes", "-keyout", f"{end}-key.pem", "-out", f"{end}.csr", "-subj", f"/CN={end}")
        (folder / f"{end}.ext").write_text("basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost\n")
        openssl("x509", "-req", "-in", f"{end}.csr", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", *days,
                "-out", f"{end}-cert.pem", "-extfile", f"{end}.ext")
    return folder


def ways(hand, program, multifd):
    """{name: (function, what it is compared to)}."""
    result = {}
    for channels in (0, CHANNELS) if multifd else (0,):
        more = f", {channels} channels" if channels else ""
        options = ["--multifd", channels] if channels else []
        plain, tls = f"by hand, TCP{more}", f"by hand, QEMU's TLS{more}"
        result[plain] = (lambda channels=channels: hand.move(multifd=channels), plain)
        result[f"migrate --direct{more}"] = (lambda options=options: program.move("--direct", *options), plain)
        result[tls] = (lambda channels=channels: hand.move(tls=True, multifd=channels), tls)
        result[f"migrate{more}"] = (lambda options=options: program.move(*options), tls)
    return result


def rows(samples, chosen):
    """The table's."""
    for name, moves in samples.items():
        base = samples[chosen[name][1]]
        of = lambda field, these=moves: [getattr(move, field) for move in these]
        row = [name]
        for field in ("total", "downtime", "still", "until", "wall"):
            row += [f"{median(of(field)):.0f}", f"{ratio(of(field), of(field, base)):.2f}"]
        row.insert(-4, f"{median(of('held')):.1f}")
        sent = [move.sent / 1e9 for move in moves]
        row.append(f"{median([one / move.total * 1e3 for one, move in zip(sent, moves)]):.2f}")
        for who in ("qemu", "near", "far"):
            cpu = median([getattr(move, who) / one for one, move in zip(sent, moves)])
            row.append(f"{cpu:.2f}" if cpu else "")
        yield row


def note_goals(samples, chosen, size):
    """Of all ways of the program."""
    wanted = {"migrate --direct": (("total", 1.05), ("downtime", 1.2), ("still", 1.2)), "migrate": (("total", 1.0),)}
    for name, moves in samples.items():
        base = samples[chosen[name][1]]
        for field, limit in wanted.get(name.split(",", maxsplit=1)[0], ()):
            beside = ratio([getattr(move, field) for move in moves], [getattr(move, field) for move in base])
            goal(f"{name}, {size} MiB: {field} beside {chosen[name][1]}", beside, limit)


def measure(t, keys, guest, rounds, multifd):
    memory = Memory(guest.memory)
    try:
        hand, program = ByHand(t, guest, memory, keys), Program(t, guest, memory)
        chosen = ways(hand, program, multifd)
        samples = interleave({name: function for name, (function, _) in chosen.items()}, rounds)
    finally:
        t.end()
        memory.end()
    note_goals(samples, chosen, guest.memory)
    heads = ["", *("total", "ratio", "downtime", "ratio", "still", "ratio", "held", "until", "ratio", "command", "ratio", "GB/s")]
    title = f"migrate: a guest of {guest.memory} MiB (TCG) that writes {guest.rate} MiB/s; {BANDWIDTH} GiB/s and {DOWNTIME} ms of "
    title += f"downtime allowed; ms, and seconds of CPU for each GB; medians of {rounds} rounds"
    table(title, [*heads, "QEMUs", "near", "far"], rows(samples, chosen))


def run(t, options):
    note("total, downtime: QEMU's own; still: from STOP to RESUME; held: of that, until the driver said migrate-continue and cont")
    note("until: from the beginning of the command to RESUME; command: to its end and that of the source's QEMU")
    keys = None
    for mebibytes, part, multifd in SIZES:
        t.fresh(f"move{mebibytes}")
        keys = keys or make_keys(t.dir / "keys")
        measure(t, keys, Guest(mebibytes, RATE), max(min(3, options.rounds), options.rounds // part), multifd)
