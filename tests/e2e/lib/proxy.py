# SPDX-License-Identifier: GPL-3.0-or-later
"""A network between two hosts that can be disturbed: a TCP proxy, in a thread of the test."""
import errno
import os
import selectors
import socket
import struct
import threading
import time
from collections import deque
from contextlib import contextmanager

from .process import free_port

CHUNK = 1 << 18
QUEUE = 8 << 20  # bytes that may be on their way in one direction of a connection
FORWARD, BACKWARD = "forward", "backward"  # from who connects to who listens; the answers
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST


class Flow:
    """One direction of a connection."""

    def __init__(self, direction):
        self.direction = direction
        self.queue = deque()  # (when it is due, bytes)
        self.queued = 0  # bytes in it
        self.carried = 0  # bytes that have been handed over
        self.ended = False  # the sender has shut its side down
        self.shut = False  # and the receiver has been told


class Connection:
    """One connection through the proxy.

    .number from 1 on; .began (time.monotonic); .forward and .backward are Flows
    """

    def __init__(self, number, client):
        self.number = number
        self.began = time.monotonic()
        self.client = client
        self.server = None
        self.connected = False
        self.forward = Flow(FORWARD)
        self.backward = Flow(BACKWARD)
        self.lost = False  # neither end exists any more
        self.speaks = None  # the direction of what was taken last

    def ends(self, flow):
        """(from where, to where) the flow goes."""
        return (self.client, self.server) if flow is self.forward else (self.server, self.client)


class Proxy:
    """Listens at `at`:`port` and carries each connection to `host`:`target`.

        proxy = Proxy(target)
        a.trust(b, address=proxy.address)
        proxy.stall("backward")                   # answers stay on their way
        proxy.after_bytes(1 << 20, proxy.cut)     # a hook, called in the proxy's thread

    What it does is set for the whole network, for the connections there are and for new ones:

    delay(seconds)     each byte takes so much longer, in each direction
    limit(rate)        bytes a second, all connections together, forward; None: no limit
    stall(direction)   nothing more arrives; everything stays open. Bytes wait in the proxy and in the senders
    drop(direction)    what is sent is taken and vanishes, as when the other host has gone without a word
    cut(how)           all connections are reset; new ones are: "reset" as soon as they are made, "refused" (nobody
                       listens), or "silent" (made, and never answered)
    heal()             all is well again, for what still exists and for new connections; no more delay and limit

    Control it from any thread; each call has taken effect when it returns.
    """

    def __init__(self, target, port=None, host="127.0.0.1", at="127.0.0.1"):
        self.target = (host, target)
        self.port = port or free_port()
        self.at = at
        self.address = f"{at}:{self.port}"
        self.connections = []  # all there ever were, oldest first
        self._stalled, self._dropped = set(), set()
        self._delay, self._rate, self._allowance, self._counted = 0.0, None, 0.0, time.monotonic()
        self._broken = None  # how it is cut
        self._on_connection, self._on_turn, self._on_bytes, self._total = [], [], [], 0
        self.turns = 0  # how often a client has begun to speak: first, or after the other side
        self._lock = threading.RLock()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._listener = None
        self._listen()
        self._over = False
        self.failure = None  # of a hook
        self._thread = threading.Thread(target=self._run, name=f"proxy-{self.port}", daemon=True)
        self._thread.start()

    # Control.

    def delay(self, seconds):
        """Each byte takes so much longer, in each direction."""
        with self._changing():
            self._delay = seconds

    def limit(self, rate):
        """Bytes a second forward, all connections together; None: no limit."""
        with self._changing():
            self._rate, self._allowance, self._counted = rate, 0.0, time.monotonic()

    def stall(self, direction=None):
        """Nothing more arrives, in this direction or in both."""
        with self._changing():
            self._stalled |= {direction} if direction else {FORWARD, BACKWARD}

    def drop(self, direction=None):
        """What is sent vanishes, in this direction or in both."""
        with self._changing():
            self._dropped |= {direction} if direction else {FORWARD, BACKWARD}

    def cut(self, how="reset"):
        """All connections are reset; new ones are treated as `how` says."""
        if how not in ("reset", "refused", "silent"):
            raise ValueError(how)
        with self._changing():
            self._broken = how
            for connection in self.connections:
                self._lose(connection)
            if how == "refused" and self._listener:
                self._selector.unregister(self._listener)
                self._listener.close()
                self._listener = None

    def heal(self):
        """All is well again, for what still exists and for new connections."""
        with self._changing():
            self._stalled, self._dropped = set(), set()
            self._delay, self._rate, self._broken = 0.0, None, None
            for connection in self.connections:
                if not connection.lost and connection.server is None:  # made while it was silent
                    self._lose(connection)
            if self._listener is None:
                self._listen()

    def on_connection(self, number, call):
        """Calls call() once when connection `number` (1: the first that ever was) has been made by a client, before a
        byte of it is carried. Hooks run in the proxy's thread."""
        with self._changing():
            self._on_connection.append((number, call))

    def on_turn(self, number, call):
        """Calls call() once when a client has begun to speak for the `number`th time (.turns: so far, all connections that
        ever were together), before a byte of that is carried. With TLS 1.3 and no tickets the first turn of a connection
        is the handshake's, each other one a request; and the last, when all is answered, the end."""
        with self._changing():
            self._on_turn.append((number, call))

    def after_bytes(self, count, call):
        """Calls call() once when `count` more bytes than now (and none beyond) have been carried, both directions
        together."""
        if count < 1:
            raise ValueError(count)
        with self._changing():
            self._on_bytes.append((self._total + count, call))

    def carried(self, direction=FORWARD):
        """Bytes that were handed over in this direction, all connections that ever were together."""
        with self._lock:
            return sum(getattr(connection, direction).carried for connection in self.connections)

    def alive(self):
        """The connections that still exist."""
        with self._lock:
            return [connection for connection in self.connections if not connection.lost]

    def close(self):
        """Ends it: all connections are reset."""
        with self._changing():
            self._over = True
        self._thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # The thread.

    @contextmanager
    def _changing(self):
        """Under the lock; then the thread looks at everything anew."""
        with self._lock:
            yield
        try:
            os.write(self._wake_write, b"x")
        except OSError:  # it is full, or closed
            pass

    def _listen(self):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.at, self.port))
        listener.listen(64)
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ, None)

    def _lose(self, connection):
        """Both ends of it are reset."""
        if connection.lost:
            return
        connection.lost = True
        for end in (connection.client, connection.server):
            if end is not None:
                self._watch(end, 0, None)
                try:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                except OSError:
                    pass
                end.close()
        for flow in (connection.forward, connection.backward):
            flow.queue.clear()
            flow.queued = 0

    def _finish(self, connection):
        """Both directions have ended well."""
        connection.lost = True
        for end in (connection.client, connection.server):
            self._watch(end, 0, None)
            end.close()

    def _watch(self, end, events, connection):
        """What the selector looks for at a socket."""
        try:
            known = self._selector.get_key(end)
        except (KeyError, ValueError):
            known = None
        if known and not events:
            self._selector.unregister(end)
        elif known and known.events != events:
            self._selector.modify(end, events, connection)
        elif not known and events:
            self._selector.register(end, events, connection)

    def _accept(self):
        while self._listener is not None:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(len(self.connections) + 1, client)
            self.connections.append(connection)
            self._hook(self._on_connection, connection.number)
            if connection.lost:  # by the hook
                continue
            if self._broken == "reset":
                self._lose(connection)
            elif self._broken != "silent":
                self._connect(connection)

    def _connect(self, connection):
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.server = server
        if server.connect_ex(self.target) not in (0, errno.EINPROGRESS):
            self._lose(connection)

    def _hook(self, hooks, reached):
        """Calls, once, those hooks whose number has been reached."""
        for entry in [entry for entry in hooks if entry[0] <= reached]:
            hooks.remove(entry)
            try:
                entry[1]()
            except Exception as failure:  # shown by whoever looks
                self.failure = failure

    def _take(self, connection, flow):
        """Reads what there is from the sender."""
        sender, _ = connection.ends(flow)
        try:
            data = sender.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        if data and flow.direction == FORWARD and connection.speaks != FORWARD:
            self.turns += 1
            self._hook(self._on_turn, self.turns)
            if connection.lost:  # by the hook
                return
        connection.speaks = flow.direction if data else connection.speaks
        if not data:
            flow.ended = True
        elif flow.direction not in self._dropped:
            flow.queue.append((time.monotonic() + self._delay, data))
            flow.queued += len(data)

    def _give(self, connection, flow, now):
        """Hands over what is due; returns the seconds after which to come back, or None."""
        _, receiver = connection.ends(flow)
        while flow.queue and flow.direction not in self._stalled:
            due, data = flow.queue[0]
            if flow.direction in self._dropped:
                flow.queue.popleft()
                flow.queued -= len(data)
                continue
            if due > now:
                return due - now
            part = memoryview(data)
            if self._rate and flow.direction == FORWARD:
                if self._allowance < 1:
                    return 0.01
                part = part[: int(self._allowance)]
            if self._on_bytes:  # not a byte too many
                part = part[: min(count for count, _ in self._on_bytes) - self._total]
            try:
                count = receiver.send(part)
            except (BlockingIOError, InterruptedError):
                return None
            if self._rate and flow.direction == FORWARD:
                self._allowance -= count
            flow.queue.popleft()
            if count < len(data):
                flow.queue.appendleft((due, memoryview(data)[count:]))
            flow.queued -= count
            flow.carried += count
            self._total += count
            self._hook(self._on_bytes, self._total)
            if connection.lost:  # by the hook
                return None
        idle = flow.direction not in self._stalled and flow.direction not in self._dropped
        if flow.ended and not flow.queue and not flow.shut and idle:
            flow.shut = True
            receiver.shutdown(socket.SHUT_WR)
        return None

    def _serve(self, connection, ready, now):
        """One turn for a connection; returns the seconds after which to come back, or None."""
        if connection.lost or connection.server is None:
            return None
        try:
            if not connection.connected:
                if connection.server not in ready:
                    self._watch(connection.server, selectors.EVENT_WRITE, connection)
                    return None
                if connection.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self._lose(connection)
                    return None
                connection.connected = True
            again = []
            wanted = {connection.client: 0, connection.server: 0}
            for flow in (connection.forward, connection.backward):
                sender, receiver = connection.ends(flow)
                if not flow.ended and sender in ready and flow.queued < QUEUE and flow.direction not in self._stalled:
                    self._take(connection, flow)
                wait = self._give(connection, flow, now)
                if connection.lost:
                    return None
                if wait is not None:
                    again.append(wait)
                elif flow.queue and flow.direction not in self._stalled:
                    wanted[receiver] |= selectors.EVENT_WRITE
                if not flow.ended and flow.queued < QUEUE and flow.direction not in self._stalled:
                    wanted[sender] |= selectors.EVENT_READ
            if connection.forward.shut and connection.backward.shut:
                self._finish(connection)
                return None
            for end, events in wanted.items():
                self._watch(end, events, connection)
            return min(again, default=None)
        except OSError:  # one end was reset: so is the other
            self._lose(connection)
            return None

    def _run(self):
        pause = None
        while True:
            ready = self._selector.select(pause)
            with self._lock:
                if self._over:
                    break
                try:
                    while os.read(self._wake_read, 4096):
                        pass
                except BlockingIOError:
                    pass
                if self._listener is not None:
                    self._accept()
                now = time.monotonic()
                if self._rate:
                    most = self._rate / 20
                    self._allowance = min(most, self._allowance + (now - self._counted) * self._rate)
                    self._counted = now
                files = {key.fileobj for key, _ in ready}
                waits = [self._serve(one, files, now) for one in self.connections if not one.lost]
                pause = min((wait for wait in waits if wait is not None), default=None)
        for connection in self.connections:
            self._lose(connection)
        if self._listener:
            self._listener.close()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
