# SPDX-License-Identifier: GPL-3.0-or-later
"""The disturbed network of lib/proxy.py does what it says, before anything is tested with it."""
import os
import socket
import threading
import time
from contextlib import contextmanager

from lib.harness import check, check_equal, test, wait_until
from lib.proxy import BACKWARD, FORWARD, Proxy


@contextmanager
def echo():
    """A server that sends back what it gets; yields (its port, how its connections are: "open", "ended", "reset")."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection, number):
            try:
                with connection:
                    while data := connection.recv(1 << 18):
                        connection.sendall(data)
                taken[number] = "ended"
            except ConnectionResetError:
                taken[number] = "reset"

        def accept():
            try:
                while True:
                    words = (listener.accept()[0], len(taken))
                    taken.append("open")
                    threading.Thread(target=serve, args=words, daemon=True).start()
            except OSError:
                pass

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], taken
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def network():
    """A proxy before an echo; yields (Proxy, a function that connects, how the server's connections are)."""
    with echo() as (port, taken), Proxy(port) as proxy:

        def connect():
            result = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
            result.settimeout(5)
            return result

        yield proxy, connect, taken
        check(proxy.failure is None, f"a hook failed: {proxy.failure}")


def read(connection, size):
    """So many bytes."""
    result = bytearray()
    while len(result) < size:
        data = connection.recv(min(size - len(result), 1 << 18))
        check(data, f"the end after {len(result)} of {size} bytes")
        result += data
    return bytes(result)


def nothing(connection, seconds=0.3):
    """Nothing comes for so long."""
    connection.settimeout(seconds)
    try:
        data = connection.recv(1)
        check(False, f"{data!r} came")
    except TimeoutError:
        pass
    connection.settimeout(5)


def is_reset(connection):
    """The connection is reset."""
    try:
        data = connection.recv(1)
    except ConnectionResetError:
        return
    check(False, f"{data!r} came from a connection that should be reset")


def is_reset_at_once(connect):
    """A new connection is made and reset."""
    try:
        with connect() as connection:
            is_reset(connection)
    except ConnectionResetError:  # before connect() has returned
        pass


@test()
def carries(t):
    """bytes come through unchanged, in both directions, and ends of streams one by one"""
    sent = os.urandom(3 << 20)
    with network() as (proxy, connect, _):
        with connect() as one, connect() as other:
            sender = threading.Thread(target=lambda: (one.sendall(sent), one.shutdown(socket.SHUT_WR)))
            sender.start()
            check(read(one, len(sent)) == sent, "other bytes came back")
            check_equal(one.recv(1), b"", "end of the stream")
            sender.join()
            other.sendall(b"still here")
            check_equal(read(other, 10), b"still here", "the other connection")
        check_equal((proxy.carried(FORWARD), proxy.carried(BACKWARD)), (len(sent) + 10,) * 2, "bytes counted")
        wait_until(lambda: not proxy.alive(), 5, "end of the connections")
        check_equal([one.number for one in proxy.connections], [1, 2], "numbers")


@test(alone=True)
def fast(t):
    """fast enough for what is to go through it: 50 MB a second, in sum of both directions"""
    size = 64 << 20
    with network() as (_, connect, _), connect() as one:
        began = time.monotonic()
        threading.Thread(target=lambda: one.sendall(bytes(size)), daemon=True).start()
        read(one, size)
        took = time.monotonic() - began
        check(size / took > 25e6, f"{size / took / 1e6:.0f} MB/s each way")


@test()
def stalls(t):
    """nothing arrives in one direction, or in both, and all of it when it goes on"""
    with network() as (proxy, connect, taken), connect() as one:
        one.sendall(b"a")
        read(one, 1)
        proxy.stall(BACKWARD)
        one.sendall(b"b")
        nothing(one)
        wait_until(lambda: proxy.carried(FORWARD) == 2, 5, "byte at the server")
        proxy.stall()
        one.sendall(b"c")
        nothing(one)
        check_equal(proxy.carried(FORWARD), 2, "bytes that went through")
        with connect() as other:  # is made, as far as the client can see
            other.sendall(b"d")
            nothing(other)
            proxy.heal()
            check_equal((read(one, 2), read(other, 1)), (b"bc", b"d"), "what was held up")
        check_equal(len(taken), 2, "connections at the server")


@test()
def drops(t):
    """answers vanish; what is sent after it is healed comes through"""
    with network() as (proxy, connect, _), connect() as one:
        proxy.drop(BACKWARD)
        one.sendall(b"lost")
        wait_until(lambda: proxy.carried(FORWARD) == 4, 5, "bytes at the server")
        nothing(one)
        proxy.heal()
        one.sendall(b"again")
        check_equal(read(one, 5), b"again", "what came")


@test()
def cuts(t):
    """connections are reset at both ends, new ones are reset, refused or never answered; healed, they are as before"""
    with network() as (proxy, connect, taken):
        for how in ("reset", "refused", "silent"):
            with connect() as one:
                one.sendall(b"x")
                read(one, 1)
                proxy.cut(how)
                is_reset(one)
                wait_until(lambda: taken[-1] == "reset", 5, "reset at the server")
            if how == "refused":
                try:
                    connect().close()
                    check(False, "a connection was made")
                except ConnectionRefusedError:
                    pass
            elif how == "reset":
                is_reset_at_once(connect)
            else:
                with connect() as later:
                    later.sendall(b"x")
                    nothing(later)
            proxy.heal()
            with connect() as after:
                after.sendall(b"y")
                check_equal(read(after, 1), b"y", f"after {how}")
        check_equal(proxy.alive()[:-1], [], "connections that are left")


@test()
def server_gone(t):
    """nobody listens behind it: reset"""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with Proxy(port) as proxy:
        is_reset_at_once(lambda: socket.create_connection(("127.0.0.1", proxy.port), timeout=5))
        check_equal(proxy.alive(), [], "connections")


@test()
def slow(t):
    """a delay in each direction, and a limited rate"""
    with network() as (proxy, connect, _), connect() as one:
        proxy.delay(0.1)
        began = time.monotonic()
        one.sendall(b"x")
        read(one, 1)
        took = time.monotonic() - began
        check(0.2 <= took < 5, f"{took:.2f} s for 2 times 0.1 s")
        proxy.delay(0)
        proxy.limit(1 << 20)
        began = time.monotonic()
        one.sendall(bytes(1 << 19))
        read(one, 1 << 19)
        took = time.monotonic() - began
        check(0.4 <= took < 10, f"{took:.2f} s for half a mebibyte at 1 MiB/s")


@test()
def hooks(t):
    """at a connection by number, before a byte of it is carried, and after so many bytes, each once"""
    with network() as (proxy, connect, taken):
        called = []
        proxy.on_connection(2, lambda: (called.append(2), proxy.cut()))
        with connect() as one:
            one.sendall(b"x")
            read(one, 1)
            is_reset_at_once(connect)
            is_reset(one)
        check_equal((called, len(taken)), ([2], 1), "calls, connections at the server")
        proxy.heal()
        proxy.after_bytes(100, proxy.stall)
        with connect() as one:
            one.sendall(bytes(99))
            read(one, 1)
            nothing(one)
        check_equal(proxy.carried(FORWARD) - 1, 99, "bytes forward")


@test()
def turns(t):
    """at the n-th time that a client begins to speak, however often it is said before the other side speaks, and not a byte
    of that is carried"""
    with network() as (proxy, connect, taken):
        called = []
        with connect() as one:
            one.sendall(b"x")
            read(one, 1)
            proxy.on_turn(proxy.turns + 2, lambda: (called.append(proxy.turns), proxy.stall(FORWARD)))
            one.sendall(b"x")
            read(one, 1)
            check_equal((called, proxy.turns), ([], 2), "turns")
            one.sendall(b"x")
            nothing(one)
            check_equal((called, proxy.carried(FORWARD)), ([3], 2), "turns, bytes forward")
