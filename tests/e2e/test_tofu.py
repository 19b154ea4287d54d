# SPDX-License-Identifier: GPL-3.0-or-later
"""--tofu: a person at a terminal decides about a peer that is not known; nobody else does, and nothing is sent before."""
import json
import shlex
import shutil
import socket
import ssl
import subprocess
import threading

from lib.harness import check, check_equal, check_in, test
from lib.pair import VM, Pair

QUESTION = "(yes/no)"


def half_a_pair(t):
    """A Pair whose a does not know b."""
    pair = Pair(t)
    shutil.rmtree(pair.a.home / "config" / "trust.d")
    return pair


def entries(host):
    """{name: entry} of its trust.d."""
    folder = host.home / "config" / "trust.d"
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")} if folder.exists() else {}


def at_terminal(t, host, *words):
    """The Process of the program at a terminal of its own."""
    line = f"stty cols 200; exec {shlex.join(map(str, host.argv(*words)))}"
    argv = ["script", "--quiet", "--return", "--flush", "--command", line, "/dev/null"]
    return t.start(*argv, name="terminal", stdin=subprocess.PIPE, env={"TERM": "xterm", "SHELL": "/bin/sh"})


def type_in(process, text):
    process.stdin.write(text.encode())
    process.stdin.flush()


class Shown:
    """A TLS server with the identity of a host, which notes what connections came and what each of them said."""

    def __init__(self, host):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(host.home / "config" / "identity.crt", host.home / "config" / "identity.key")
        self.heard = []  # a list of the messages of each connection
        context._msg_callback = self._note
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, args=(context,), daemon=True).start()

    def _note(self, _connection, direction, _version, content, message, _data):
        if direction == "read" and content.name != "HEADER" and content.name != "INNER_CONTENT_TYPE":
            self.heard[-1].append(message.name)

    def _serve(self, context):
        while True:
            peer, _ = self.socket.accept()
            self.heard.append([])
            try:
                with context.wrap_socket(peer, server_side=True) as stream:
                    self.heard[-1].append(f"{len(stream.recv(100))} bytes")
            except OSError:
                pass


@test(timeout=120)
def asked_and_trusted(t):
    """the pin is shown; all but the word yes is no: 77, and nothing is trusted; then the peer is trusted under its address,
    the launch goes on, and later ones do not ask"""
    pair = half_a_pair(t)
    address = f"127.0.0.1:{pair.port}"
    words = ["launch", "--vm", VM, "--peer", address, "--tofu", "--dry-run", "--", *pair.guest("a")]
    listener = pair.listen("--dry-run", "--timeout", "50")
    listener.wait_output("waiting for a peer", 40)
    for typed in ("y\n", "\x04"):
        process = at_terminal(t, pair.a, *words)
        process.wait_output(QUESTION, 40)
        type_in(process, typed)
        process.expect_status(77)
        check_in("its pin was not confirmed", process.stdout(), "what it says")
        check_equal(entries(pair.a), {}, f"entries after {typed!r}")
    process = at_terminal(t, pair.a, *words)
    process.wait_output(QUESTION, 40)
    check_in(pair.b.identity_pin(), process.stdout(), "what is shown")
    type_in(process, "yes\n")
    process.expect_status(0)
    listener.expect_status(0)
    entry = {"version": 1, "name": "127.0.0.1", "pins": [pair.b.identity_pin()], "address": address}
    check_equal(entries(pair.a), {"127.0.0.1": entry}, "entries")
    listener = pair.listen("--dry-run", "--timeout", "50")
    listener.wait_output("waiting for a peer", 40)
    pair.a.run(*words, check=0)  # no terminal is needed any more
    listener.expect_status(0)


@test(timeout=90)
def no_terminal(t):
    """launch, receive and migrate refuse without a terminal: 77; nobody is even asked for his key"""
    a, b = t.host("a"), t.host("b")
    a.identity_pin(), b.identity_pin()
    server = Shown(b)
    for words in (
        ("launch", "--vm", VM, "--peer", server.address, "--tofu", "--", t.qemu_path),
        ("receive", VM, "--from", server.address, "--tofu"),
        ("migrate", VM, "--to", server.address, "--tofu"),
    ):
        refused = a.run(*words, input="yes\n", check=77)
        check_in("--tofu needs a terminal", refused.stderr, words[0])
        check_in("trust add NAME PIN", refused.stderr, words[0])
    check_equal((entries(a), server.heard), ({}, []), "entries, connections")


@test(timeout=90)
def nothing_is_sent(t):
    """before the answer the peer gets a ClientHello and an alert: no certificate, no request; that of receive and migrate"""
    a, b = t.host("a"), t.host("b")
    a.identity_pin()
    pin = b.identity_pin()
    server = Shown(b)
    for words in (("receive", VM, "--from", server.address, "--tofu"), ("migrate", VM, "--to", server.address, "--tofu")):
        process = at_terminal(t, a, *words)
        process.wait_output(QUESTION, 40)
        check_in(pin, process.stdout(), "what is shown")
        heard = server.heard[-1]
        check_equal([name for name in heard if name not in ("CHANGE_CIPHER_SPEC",)][:1], ["CLIENT_HELLO"], "first message")
        check(not {"CERTIFICATE", "CERTIFICATE_VERIFY", "FINISHED"} & set(heard), f"messages: {heard}")
        check(not [name for name in heard if name.endswith("bytes")], f"data: {heard}")
        type_in(process, "no\n")
        process.expect_status(77)
    check_equal(entries(a), {}, "entries")


@test(timeout=120)
def another_key_later(t):
    """a key that changed is refused, at a terminal, with --tofu, without a question; so is a known key at another address,
    and this host's own"""
    pair = half_a_pair(t)
    server = Shown(pair.b)
    words = ["receive", VM, "--tofu", "--from"]
    pair.a.run("trust", "add", "127.0.0.1", pair.a.identity_pin()[:-4] + "AAA=", "--address", server.address, check=0)
    process = at_terminal(t, pair.a, *words, server.address)
    process.expect_status(77)
    check_in(f"is {pair.b.identity_pin()}, trusted as 127.0.0.1 is", process.stdout(), "what it says")
    check(QUESTION not in process.stdout(), "it asks")
    pair.a.run("trust", "remove", "127.0.0.1", check=0)
    pair.a.run("trust", "add", "bee", pair.b.identity_pin(), "--address", "192.0.2.1", check=0)
    process = at_terminal(t, pair.a, *words, server.address)
    process.expect_status(77)
    check_in(f"trust add bee {pair.b.identity_pin()} --address {server.address}", process.stdout(), "what it says")
    process = at_terminal(t, pair.a, *words, Shown(pair.a).address)
    process.expect_status(64)
    check_in("is this host itself", process.stdout(), "what it says")
    process = at_terminal(t, pair.a, *words, "[::1]:1")
    process.expect_status(64)
    check_in("cannot be called ::1", process.stdout(), "what it says")
