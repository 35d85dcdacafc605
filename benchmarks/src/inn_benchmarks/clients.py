"""Clients of a server of completions, in a process of their own: what they ask, what they got, and when.

Run as ``python -m inn_benchmarks.clients``: reads one JSON object from stdin, `{"port": ..., "clients": ..., "asks":
[...]}`, and writes one. An ask is the JSON of a request; `"raw"` bytes (latin-1) are sent as they are, and with `"cut"`
the connection is closed after so many events.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

HEAD = (
    "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
)


async def work(port: int, asks: list[tuple[int, dict[str, Any]]], found: list[Any]) -> None:
    """One client: takes the next ask until there are none, on one connection while that holds."""
    reader: Any = None
    writer: Any = None
    while asks:
        index, ask = asks.pop()
        if writer is None or writer.is_closing():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            found[index] = await asyncio.wait_for(one(reader, writer, ask), 120)
        except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError) as error:
            found[index] = {"error": f"{type(error).__name__}: {error}"}
        if "raw" in ask or "cut" in ask or "error" in found[index]:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ask: dict[str, Any]) -> dict[str, Any]:
    """Ask, and hear the answer: status, text, and the times at which its parts came."""
    if "raw" in ask:
        writer.write(ask["raw"].encode("latin-1"))
        writer.write_eof()
        answer = (await reader.read()).split(None, 2)
        return {"status": int(answer[1]) if len(answer) > 1 else 0, "text": "", "times": []}
    cut = ask.get("cut")
    body = json.dumps({name: value for name, value in ask.items() if name != "cut"}).encode()
    times = [time.perf_counter()]
    writer.write(HEAD.format(len(body)).encode() + body)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status, text, events = int(head.split()[1]), "", 0
    if b"chunked" not in head:
        size = int(head.partition(b"content-length: ")[2].split()[0])
        answer = json.loads(await reader.readexactly(size))
        times.append(time.perf_counter())
        text = "".join(choice["text"] for choice in answer.get("choices", []))
        return {"status": status, "text": text, "times": times}
    while size := int(await reader.readline(), 16):
        part = await reader.readexactly(size + 2)
        now = time.perf_counter()
        for event in part.split(b"\n\n"):
            if event.startswith(b"data: {"):
                text += "".join(choice["text"] for choice in json.loads(event[6:])["choices"])
                times.append(now)
                events += 1
        if cut is not None and events >= cut:
            break
    else:
        await reader.readline()
    return {"status": status, "text": text, "times": times}


async def main() -> None:
    """Do what stdin says."""
    plan = json.load(sys.stdin)
    asks = list(enumerate(plan["asks"]))[::-1]
    found: list[Any] = [None] * len(asks)
    start = time.perf_counter()
    await asyncio.gather(*(work(plan["port"], asks, found) for _ in range(plan["clients"])))
    json.dump({"seconds": time.perf_counter() - start, "answers": found}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
