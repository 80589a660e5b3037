"""WebSockets that are opened and then silent: the app that takes them, and the clients.

As a program (`websockets.py PORT`) it is the app: it accepts every upgrade and keeps it.
"""

import asyncio
import base64
import hashlib
import os
import sys

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


async def accept(reader, writer):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1)[:1] + line.split(b": ", 1)[1:] for line in head.split(b"\r\n")[1:-2])
        key = lines.get(b"sec-websocket-key")
        if key is None:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        else:
            accepted = base64.b64encode(hashlib.sha1(key + MAGIC).digest())
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
                b"sec-websocket-accept: " + accepted + b"\r\n\r\n"
            )
        await writer.drain()
        while await reader.read(4096):
            pass
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def serve(port):
    server = await asyncio.start_server(accept, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


async def opened(port, count):
    """Connections that have been upgraded."""
    sockets = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            (
                "GET /sockets HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
                f"sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n"
            ).encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head, head
        sockets.append(writer)
    return sockets


async def measure(proxy, count, seconds):
    """KiB of memory per idle connection, and microseconds of CPU per connection and second."""
    before = proxy.memory()
    sockets = await opened(proxy.ports["websocket"], count)
    await asyncio.sleep(1)
    kib = (proxy.memory() - before) / count
    cpu = proxy.cpu()
    await asyncio.sleep(seconds)
    micros = (proxy.cpu() - cpu) * 1e6 / count / seconds
    for socket in sockets:
        socket.close()
    return kib, micros


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
