"""An HTTP proxy in front of an S3 server that does to each request what a plan says.

Heads and bodies pass as they are: the signature of a request covers its `Host`, which names the proxy, and the server
checks it against that same header.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.faults.plan import Action, Plan

LATER = 0.15  # seconds
ERRORS = {
    409: ("Conflict", "ConditionalRequestConflict"),
    412: ("Precondition Failed", "PreconditionFailed"),
    503: ("Service Unavailable", "SlowDown"),
}
LIMIT = 1 << 26


@dataclass(frozen=True)
class Message:
    """A request or an answer: its head up to the empty line, and its body as it came."""

    head: bytes
    body: bytes

    @property
    def first(self) -> list[str]:
        """The words of the first line."""
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")

    @property
    def data(self) -> bytes:
        return self.head + self.body


@contextmanager
def proxy(upstream: str, plan: Plan) -> Iterator[str]:
    """The address of a proxy for the server at `upstream` (host:port), in a thread of its own."""
    loop = asyncio.new_event_loop()
    here = Proxy(upstream, plan)
    server = loop.run_until_complete(asyncio.start_server(here.serve, "127.0.0.1", 0, limit=LIMIT))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(here.end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class Proxy:
    """Serves connections until it is ended."""

    def __init__(self, upstream: str, plan: Plan) -> None:
        host, _, port = upstream.rpartition(":")
        self.upstream, self.plan = (host, int(port)), plan
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client: its requests in order."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while (request := await read_request(reader, writer)) is not None:
                action = self.plan.ask(request.first[0], request.first[1])
                answer = await self.answer(request, action)
                if answer is None or action == "cut_answer":
                    if answer is not None:
                        writer.write(half(answer))
                        await writer.drain()
                        await asyncio.sleep(0.01)  # a reset overtakes what the client hasn't read yet
                    reset(writer)
                    return
                writer.write(answer.data)
                await writer.drain()
        writer.close()

    async def answer(self, request: Message, action: Action | None) -> Message | None:
        """The answer to a request; None where the connection is to be reset."""
        if action == "reset_before":
            return None
        if action == "cut_request":
            await self.forward_half(request)
            return None
        if action in ("answer_409", "answer_412", "answer_503"):
            return refusal(int(action[-3:]), request)
        if action == "held":
            self.later(request)
            return None
        if action == "delay":
            await asyncio.sleep(LATER)
        answer = await self.forward(request)
        if action == "twice":
            answer = await self.forward(request)
        if action == "again_later":
            self.later(request)
        if action == "done_but_503":
            return refusal(503, request)
        return None if action == "reset_after" else answer

    async def forward(self, request: Message) -> Message:
        """Let the server do it."""
        reader, writer = await asyncio.open_connection(*self.upstream, limit=LIMIT)
        try:
            writer.write(request.data)
            await writer.drain()
            return await read_answer(reader, request.first[0])
        finally:
            writer.close()

    async def forward_half(self, request: Message) -> None:
        _, writer = await asyncio.open_connection(*self.upstream)
        writer.write(half(request))
        await writer.drain()
        await asyncio.sleep(0.01)
        reset(writer)

    def later(self, request: Message) -> None:
        """Let the server do it after a while, whoever still listens."""

        async def send() -> None:
            await asyncio.sleep(LATER)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self.forward(request)

        task = asyncio.create_task(send())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def end(self) -> None:
        """End what is open."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Message | None:
    """The next request of a connection; None where it ends."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    fields = parse(head)
    if fields.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    return Message(head, await read_body(reader, fields))


async def read_answer(reader: asyncio.StreamReader, method: str) -> Message:
    """The server's answer, after those that only say `continue`."""
    head = b"HTTP/1.1 100"
    while head.startswith(b"HTTP/1.1 100"):
        head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    bodiless = method == "HEAD" or status in (204, 304)
    return Message(head, b"" if bodiless else await read_body(reader, parse(head)))


async def read_body(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    """The body that the fields of a head announce, chunks with their sizes."""
    if "chunked" not in fields.get("transfer-encoding", "").lower():
        return await reader.readexactly(int(fields.get("content-length", "0")))
    parts: list[bytes] = []
    while True:
        line = await reader.readuntil(b"\r\n")
        parts.append(line)
        if (size := int(line.split(b";")[0], 16)) == 0:
            break
        parts.append(await reader.readexactly(size + 2))
    while parts[-1] != b"\r\n":
        parts.append(await reader.readuntil(b"\r\n"))
    return b"".join(parts)


def parse(head: bytes) -> dict[str, str]:
    """The fields of a head, their names in small letters."""
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}


def half(message: Message) -> bytes:
    """The head and half of the body; half of the head where there is no body."""
    if message.body:
        return message.head + message.body[: len(message.body) // 2]
    return message.head[: len(message.head) // 2]


def refusal(status: int, request: Message) -> Message:
    """An error as S3 words it."""
    reason, code = ERRORS[status]
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{reason}</Message></Error>"
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return Message(head.encode(), b"" if request.first[0] == "HEAD" else body.encode())


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, not with a goodbye."""
    link = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
