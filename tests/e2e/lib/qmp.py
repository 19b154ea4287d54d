# SPDX-License-Identifier: GPL-3.0-or-later
"""A QMP client over a Unix socket, in which nothing waits without a deadline."""
import json
import socket
import time


class QMPError(Exception):
    """QEMU's answer was an error: .kind is its class, .desc its text."""

    def __init__(self, command, error):
        self.kind = error.get("class", "")
        self.desc = error.get("desc", "")
        super().__init__(f"{command}: {self.desc}")


class QMPTimeout(Exception):
    """QEMU did not answer, or an event did not come, in time."""


class QMPClosed(Exception):
    """QEMU closed the connection (it has usually ended)."""


class QMP:
    """One connection.

        with QMP(path) as qmp:
            qmp.command("migrate", uri="tcp:127.0.0.1:4444")
            qmp.wait_event("STOP")

    Connecting is tried until `timeout` seconds are over, so the socket need not exist yet. `timeout` is also the default
    for every command and event. A second client on a busy socket gets no greeting: that is a QMPTimeout.
    """

    def __init__(self, path, timeout=10.0, alive=None):
        """`alive`, if given, is called while connecting; when it returns False the wait is over (QMPClosed)."""
        self.path = str(path)
        self.timeout = timeout
        self.events = []  # those that nobody waited for yet, oldest first
        self._buffer = b""
        self._next_id = 0
        self._socket = self._connect(time.monotonic() + timeout, alive)
        deadline = time.monotonic() + timeout
        self.greeting = self._receive(deadline)
        while "event" in self.greeting:  # one at the moment of connecting comes first
            self.greeting = self._receive(deadline)
        if "QMP" not in self.greeting:
            raise QMPClosed(f"{self.path}: no QMP greeting but {self.greeting}")
        self.command("qmp_capabilities")

    def _connect(self, deadline, alive):
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            try:
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                connection.connect(self.path)
                return connection
            except (FileNotFoundError, ConnectionRefusedError) as reason:
                connection.close()
                if alive is not None and not alive():
                    raise QMPClosed(f"{self.path}: the process ended before it opened its QMP socket") from None
                if time.monotonic() > deadline:
                    raise QMPTimeout(f"{self.path}: cannot connect: {reason}") from None
                time.sleep(0.01)
            except OSError:
                connection.close()
                raise

    def close(self):
        """Ends the connection; QEMU goes on."""
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def version(self):
        """QEMU's version as (major, minor, micro), from the greeting."""
        number = self.greeting["QMP"]["version"]["qemu"]
        return number["major"], number["minor"], number["micro"]

    # Messages

    def _receive(self, deadline):
        """The next message, reply or event."""
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise QMPTimeout(f"{self.path}: no answer in time")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(1 << 20)
            except TimeoutError:
                continue
            except ConnectionResetError:
                data = b""
            if not data:
                raise QMPClosed(f"{self.path}: QEMU closed the connection")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)

    def _send(self, requests):
        try:
            self._socket.settimeout(self.timeout)
            self._socket.sendall(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
        except TimeoutError:
            raise QMPTimeout(f"{self.path}: QEMU does not read") from None
        except (BrokenPipeError, ConnectionResetError):
            raise QMPClosed(f"{self.path}: QEMU closed the connection") from None

    def _request(self, name, arguments):
        self._next_id += 1
        request = {"execute": name, "id": self._next_id}
        if arguments:
            request["arguments"] = arguments
        return request

    def command(self, name, arguments=None, timeout=None, **named):
        """Runs one command and returns its `return` value; an error raises QMPError.

        Arguments are given by name, with `_` for QMP's `-`, or exactly in the dict `arguments`:
            qmp.command("migrate-set-parameters", downtime_limit=100)
            qmp.command("object-add", {"qom-type": "iothread", "id": "i"})
        """
        arguments = dict(arguments or {}, **{key.replace("_", "-"): value for key, value in named.items()})
        reply = self._exchange([self._request(name, arguments)], timeout)[0]
        if "error" in reply:
            raise QMPError(name, reply["error"])
        return reply["return"]

    def pipeline(self, commands, timeout=None):
        """Runs many (name, arguments) without waiting for each; returns the raw replies, with `return` or `error`."""
        replies = []
        for start in range(0, len(commands), 100):
            requests = [self._request(name, arguments) for name, arguments in commands[start : start + 100]]
            replies += self._exchange(requests, timeout)
        return replies

    def _exchange(self, requests, timeout):
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        self._send(requests)
        replies = {}
        wanted = [request["id"] for request in requests]
        while len(replies) < len(wanted):
            try:
                message = self._receive(deadline)
            except (QMPTimeout, QMPClosed) as failure:
                raise type(failure)(f"{requests[len(replies)]['execute']}: {failure}") from None
            if "event" in message:
                self.events.append(message)
            elif message.get("id") in wanted:
                replies[message["id"]] = message
        return [replies[number] for number in wanted]

    # Events

    def wait_event(self, name, timeout=None, where=None):
        """Waits for an event, takes it (and what came before it) off `events`, and returns it.

        `where` is a function of the event's data that says whether this is the one:
            qmp.wait_event("MIGRATION", where=lambda data: data["status"] == "completed")
        """
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        position = 0
        while True:
            while position < len(self.events):
                event = self.events[position]
                position += 1
                if event["event"] == name and (where is None or where(event.get("data", {}))):
                    del self.events[:position]
                    return event
            try:
                message = self._receive(deadline)
            except (QMPTimeout, QMPClosed) as failure:
                raise type(failure)(f"waiting for the event {name}: {failure}") from None
            if "event" in message:
                self.events.append(message)


def vcpu_features(qmp):
    """{name: bool} of every readable bool property of the first vCPU: what `-cpu` became, aliases included."""
    path = qmp.command("query-cpus-fast")[0]["qom-path"]
    names = [entry["name"] for entry in qmp.command("qom-list", path=path) if entry["type"] == "bool"]
    replies = qmp.pipeline([("qom-get", {"path": path, "property": name}) for name in names])
    return {name: reply["return"] for name, reply in zip(names, replies) if "return" in reply}
