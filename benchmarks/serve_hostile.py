"""Good and hostile requests in turn, at one server: it must answer the good ones, and lose nothing.

    python benchmarks/serve_hostile.py BUNDLE                 10,000 requests, about ten minutes
    python benchmarks/serve_hostile.py BUNDLE --requests 500  in short

The exit code is 1 if there was a 5xx but 503, a good request got a wrong answer, or descriptors or threads were lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "images"))

import hostile
from serving import Server, photos, serving

AT_A_TIME = 24
MIB = 1 << 20
Kind = tuple[str, bytes, Callable[[], float] | None]


def post(body: bytes, kind: str = "image/jpeg", address: str = "/predict", length: int | None = None) -> bytes:
    count = len(body) if length is None else length
    head = f"POST {address} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {count}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def form(bodies: list[bytes]) -> bytes:
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n%b\r\n'
    return b"".join(part % body for body in bodies) + b"--x--\r\n"


async def send(port: int, data: bytes, *, cut: int | None = None, half: bool = False, drip: float = 0) -> bytes:
    """Send a request, in one of the ways of a bad client, and return what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data if cut is None else data[:cut])
        await writer.drain()
        if half:
            writer.write_eof()
        elif cut is not None and drip:
            for byte in data[cut : cut + 8]:
                await asyncio.sleep(drip)
                writer.write(bytes([byte]))
        elif cut is not None:
            return b""
        return await asyncio.wait_for(reader.read(-1), 90)
    except (ConnectionError, asyncio.TimeoutError):
        return b""
    finally:
        writer.close()


def code_of(answer: bytes) -> int:
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


class Attack:
    """Draws requests, sends them, and judges what comes back."""

    def __init__(self, server: Server, files: list[Path], seed: int) -> None:
        self.server, self.draw = server, random.Random(seed)
        self.good = [file.read_bytes() for file in files]
        self.bad = {name: make() for name, (_, make) in hostile.hostile().items()}
        self.right: dict[bytes, str] = {}
        self.codes: Counter[tuple[str, int]] = Counter()
        self.wrong: list[str] = []

    async def learn(self) -> None:
        """Ask for the labels of the good images."""
        for body in self.good:
            answer = await send(self.server.port, post(body))
            self.right[body] = json.loads(answer.partition(b"\r\n\r\n")[2])[0]["label"]

    async def one(self) -> None:
        """Send one request."""
        kind = self.draw.choice(
            ["good"] * 8
            + ["hostile"] * 5
            + [
                "type",
                "form",
                "parts",
                "json",
                "long",
                "cut",
                "half",
                "left",
                "rubbish",
                "drip",
                "head",
                "deep",
                "random",
            ]
        )
        answer = await getattr(self, f"_{kind}")()
        code = code_of(answer)
        self.codes[kind, code] += 1
        if code >= 500 and code != 503:
            self.wrong.append(f"{kind}: {answer[:200]!r}")

    async def _good(self) -> bytes:
        body = self.draw.choice(self.good)
        answer = await send(self.server.port, post(body))
        if code_of(answer) == 503:  # refused, but not wrong
            return answer
        try:
            label = json.loads(answer.partition(b"\r\n\r\n")[2])[0]["label"]
        except (ValueError, LookupError):
            label = None
        if label != self.right[body]:
            self.wrong.append(f"good: {answer[:200]!r}")
        return answer

    async def _hostile(self) -> bytes:
        return await send(self.server.port, post(self.bad[self.draw.choice(list(self.bad))], "image/png"))

    async def _type(self) -> bytes:
        kinds = ["text/plain", "application/x-www-form-urlencoded", "multipart/mixed", "video/mp4", "x" * 500, "a/b; c"]
        return await send(self.server.port, post(self.good[0], self.draw.choice(kinds)))

    async def _form(self) -> bytes:
        body = form(self.draw.choices(self.good, k=5))
        return await send(self.server.port, post(body, "multipart/form-data; boundary=x"))

    async def _parts(self) -> bytes:
        return await send(self.server.port, post(form([b"x"] * 1000), "multipart/form-data; boundary=x"))

    async def _json(self) -> bytes:
        bodies = [
            b"{",
            b"[]",
            b'{"image": 1}',
            b'{"image": "/etc/passwd"}',
            b'{"images": [%b]}' % b",".join([b'"aa"'] * 9999),
        ]
        return await send(self.server.port, post(self.draw.choice(bodies), "application/json"))

    async def _deep(self) -> bytes:
        return await send(self.server.port, post(b"[" * 200_000, "application/json", "/v2/models/garden/infer"))

    async def _long(self) -> bytes:
        return await send(self.server.port, post(b"x" * MIB, length=500 * MIB))

    async def _cut(self) -> bytes:
        body = self.draw.choice(self.good)
        return await send(self.server.port, post(body[: self.draw.randrange(len(body))]))

    async def _half(self) -> bytes:
        return await send(self.server.port, post(self.good[0]), cut=5000, half=True)

    async def _left(self) -> bytes:
        return await send(self.server.port, post(self.good[0]), cut=self.draw.choice([1, 60, 5000, 10**9]))

    async def _drip(self) -> bytes:
        return await send(self.server.port, post(self.good[0]), cut=self.draw.choice([10, 1000]), drip=0.3)

    async def _rubbish(self) -> bytes:
        return await send(self.server.port, self.draw.randbytes(300) + b"\r\n\r\n")

    async def _head(self) -> bytes:
        odd = [b"A: " + b"x" * 200_000, b"A\0: 1", b"Content-Length: -1", b"Transfer-Encoding: x"]
        return await send(self.server.port, b"POST /predict HTTP/1.1\r\n" + self.draw.choice(odd) + b"\r\n\r\n")

    async def _random(self) -> bytes:
        body = bytearray(self.draw.choice(self.good))
        for _ in range(20):
            body[self.draw.randrange(len(body))] = self.draw.randrange(256)
        return await send(self.server.port, post(bytes(body)))


async def run(attack: Attack, count: int) -> None:
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            await attack.one()

    await asyncio.gather(*(client() for _ in range(AT_A_TIME)))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.requests < 10_000:
        hostile.SCALE = 0.1
    with tempfile.TemporaryDirectory() as name, serving(given.bundle, "--timeout", "5") as server:
        attack = Attack(server, photos(Path(name), 16), given.seed)
        asyncio.run(attack.learn())
        asyncio.run(run(attack, min(500, given.requests // 4)))
        asyncio.run(asyncio.sleep(16))  # whoever dripped is gone by then
        before = server.descriptors(), server.threads(), server.mib()
        asyncio.run(run(attack, given.requests))
        asyncio.run(asyncio.sleep(16))
        after = server.descriptors(), server.threads(), server.mib()
        asyncio.run(attack.learn())
    for (kind, code), count in sorted(attack.codes.items()):
        print(f"{kind:8} {code or 'closed':>6} {count:6}")
    for what, then, now in zip(("descriptors", "threads", "MiB"), before, after, strict=True):
        print(f"{what}: {then:.0f} before, {now:.0f} after")
    print("\n".join(attack.wrong[:20]) or "no 5xx but 503, and every good image got its label")
    return bool(attack.wrong) or after[0] > before[0] or after[1] > before[1]


if __name__ == "__main__":
    sys.exit(main())
