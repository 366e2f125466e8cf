"""A TCP link to a server that can be cut, held, slowed, or made to change bytes; HTTP/1.1.

``fault`` says what happens to requests from now on, ``left`` to how many of them; then all passes.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import threading


class Fault(enum.Enum):
    NONE = "everything passes"
    REFUSE = "connections are closed at once"
    HOLD = "the request arrives and no answer comes back"
    SLOW_DOWN = "503 SlowDown, as S3 says when it is asked too much"
    CUT_REQUEST = "the connection ends after half of a request's body"
    CUT_ANSWER = "the connection ends after half of an answer's body"
    CHANGE_REQUEST = "a byte of the request's body is another one"
    CHANGE_ANSWER = "a byte of the answer's body is another one"


ALWAYS = 10**9
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"


class FaultyLink:
    """Listens on loopback; one connection carries one request."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        self.fault, self.left, self.requests = Fault.NONE, 0, 0
        self._lock = threading.Lock()
        self._released = threading.Event()  # ends what is held
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def do(self, fault: Fault, times: int = ALWAYS) -> None:
        with self._lock:
            self.fault, self.left, self.requests = fault, times, 0

    def close(self) -> None:
        self._released.set()
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _now(self) -> Fault:
        with self._lock:
            self.requests += 1
            if not self.left:
                return Fault.NONE
            self.left -= 1
            return self.fault

    def _serve(self, client: socket.socket) -> None:
        fault = self._now()
        with client, contextlib.suppress(OSError):
            if fault is Fault.REFUSE:
                return
            head, body = _message(client)
            if fault is Fault.HOLD:
                self._released.wait(60.0)
                return
            if fault is Fault.SLOW_DOWN:
                client.sendall(_answer(b"503 Slow Down", SLOW_DOWN))
                return
            if fault is Fault.CUT_REQUEST:
                body = body[: len(body) // 2]
            if fault is Fault.CHANGE_REQUEST:
                body = _changed(body)
            with socket.create_connection(("127.0.0.1", self._to), timeout=30) as server:
                server.sendall(head.replace(b"\r\n", b"\r\nconnection: close\r\n", 1))
                server.sendall(body)
                if fault is Fault.CUT_REQUEST:
                    return
                answer = b"".join(iter(lambda: server.recv(1 << 16), b""))
            head, separator, body = answer.partition(b"\r\n\r\n")
            if fault is Fault.CUT_ANSWER:
                body = body[: len(body) // 2]
            if fault is Fault.CHANGE_ANSWER:
                body = _changed(body)
            client.sendall(head + separator + body)


def _message(client: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of one request; the body's length is said in the head."""
    got = b""
    while b"\r\n\r\n" not in got:
        more = client.recv(1 << 16)
        if not more:
            raise ConnectionError("no request")
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    while len(body) < length:
        more = client.recv(1 << 16)
        if not more:
            raise ConnectionError("half a request")
        body += more
    return head + b"\r\n\r\n", body


def _answer(status: bytes, body: bytes) -> bytes:
    length = str(len(body)).encode()
    head = b"HTTP/1.1 " + status + b"\r\ncontent-length: " + length + b"\r\nconnection: close"
    return head + b"\r\n\r\n" + body


def _changed(body: bytes) -> bytes:
    return bytes([body[0] ^ 1]) + body[1:] if body else body
