"""Is unkind to `platon serve`, and tells how it fared: a thousand connections at once, a body of 10 MB,
clients that are slow, cut off or take nothing, and a stop under load. Python's own library is enough.

    python3 benches/serve_robust.py checkpoints/runs/stsb-platon-0.1 --program target/release/platon
"""
import argparse
import asyncio
import json
import pathlib
import random
import resource
import signal
import sys
import time

import race_common as common
from serve_load import Server

BODY = json.dumps({"inputs": {"text": "A man is playing a guitar.", "text_pair": "A man plays the guitar."}})
TIMEOUT = 5  # the server's, in seconds


def request(body=BODY, path="/predict"):
    return f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


async def answer(reader):
    """The status and the headers of an answer that is read whole; 0 where there is none."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        await reader.readexactly(int(headers["content-length"]))
        return int(lines[0].split()[1]), headers
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0, {}


async def metric(server, name):
    reader, writer = await asyncio.open_connection(*server.place)
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


async def until_closed(server):
    """Seconds until no connection is open but that which asks."""
    began = time.monotonic()
    while await metric(server, "platon_connections") > 1:
        await asyncio.sleep(0.1)
    return time.monotonic() - began


async def at_once(server, count):
    async def one():
        reader, writer = await asyncio.open_connection(*server.place)
        writer.write(request())
        status, _ = await answer(reader)
        writer.close()
        return status

    began = time.monotonic()
    found = await asyncio.gather(*(one() for _ in range(count)))
    return f"{count} connections at once: {tally(found)}, in {time.monotonic() - began:.1f} s"


def tally(statuses):
    return ", ".join(f"{statuses.count(s)} times {s or 'no answer'}" for s in sorted(set(statuses)))


async def large(server):
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(*server.place)
    writer.write(request("x" * 10_000_000))
    status, _ = await answer(reader)
    writer.close()
    return f"a body of 10 MB: {status} after {time.monotonic() - began:.2f} s"


async def slow(server, what, data):
    """A byte a second, in the head or in the body."""
    reader, writer = await asyncio.open_connection(*server.place)
    began = time.monotonic()

    async def trickle():
        for byte in data:
            writer.write(bytes([byte]))
            await asyncio.sleep(1)

    sending = asyncio.create_task(trickle())
    status, _ = await answer(reader)
    sending.cancel()
    return f"a byte a second of the {what}: {status or 'closed'} after {time.monotonic() - began:.1f} s"


async def slow_body(server):
    reader, writer = await asyncio.open_connection(*server.place)
    writer.write(request()[:-len(BODY)])
    began = time.monotonic()
    for byte in BODY.encode():
        writer.write(bytes([byte]))
        try:
            status, _ = await asyncio.wait_for(answer(reader), 1)
            break
        except TimeoutError:
            pass
    return f"a byte a second of the body: {status} after {time.monotonic() - began:.1f} s"


async def cut(server, count):
    whole = request()
    for _ in range(count):
        _, writer = await asyncio.open_connection(*server.place)
        writer.write(whole[:random.randrange(len(whole) + 1)])
        writer.transport.abort() if random.random() < 0.5 else writer.close()
    seconds = await until_closed(server)
    return f"{count} connections cut off somewhere: all closed {seconds:.1f} s later"


async def takes_nothing(server):
    reader, writer = await asyncio.open_connection(*server.place, limit=1)
    reader._transport.pause_reading()
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 20_000)
    await asyncio.sleep(0.5)
    seconds = await until_closed(server)
    writer.close()
    return f"a client that takes none of 20,000 answers: closed after {seconds + 0.5:.1f} s"


async def load(server, clients, seconds, stopping=None):
    """Requests that were sent whole, and those of them that were answered."""
    sent, answered, statuses = 0, 0, []
    end = time.monotonic() + seconds

    async def client():
        nonlocal sent, answered
        while stopping or time.monotonic() < end:
            try:
                reader, writer = await asyncio.open_connection(*server.place)
            except ConnectionError:
                return
            is_kept = True
            while is_kept and (stopping or time.monotonic() < end):
                writer.write(request())
                sent += 1
                status, headers = await answer(reader)
                answered += status != 0
                statuses.append(status)
                is_kept = status and headers.get("connection") != "close"
            writer.close()

    if stopping:
        asyncio.get_running_loop().call_later(seconds, stopping)
    await asyncio.gather(*(client() for _ in range(clients)))
    return sent, answered, tally(statuses)


async def everything(server, o):
    server.place = server.url.removeprefix("http://").rsplit(":", 1)
    say = lambda text: print(f"- {text}", flush=True)  # noqa: E731
    await load(server, 64, 2)
    before = server.memory()
    sent, answered, statuses = await load(server, 64, o.seconds)
    say(f"64 clients for {o.seconds} s: {sent} requests, {statuses}; memory {before:.0f} MiB before, "
        f"{server.memory():.0f} MiB after")
    say(await at_once(server, 1000))
    say(f"memory after it: {server.memory():.0f} MiB")
    say(await large(server))
    say(await slow(server, "head", request()))
    say(await slow_body(server))
    say(await cut(server, 1000))
    say(await takes_nothing(server))
    say(f"memory after all that: {server.memory():.0f} MiB")
    before = await metric(server, 'platon_requests_total{path="/predict"')
    stop = lambda: server.child.send_signal(signal.SIGTERM)  # noqa: E731
    sent, answered, statuses = await load(server, 64, 2, stop)
    began = time.monotonic()
    code = server.child.wait(60)
    say(f"SIGTERM under load of 64 clients: {sent} requests sent, {answered} answered ({statuses}); exit code {code}, "
        f"{time.monotonic() - began:.2f} s after the last answer")
    return before


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path, help="run folder or Hugging Face folder, of pairs")
    p.add_argument("--program", type=pathlib.Path, required=True, help="platon")
    p.add_argument("--seconds", type=int, default=10)
    p.add_argument("--engine", default="auto")
    o = p.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    command = [o.program, "serve", o.model, "--port", "0", "--timeout", TIMEOUT, "--max-queue", "2048", "--engine", o.engine]

    def run(o):
        with Server("platon", command) as server:
            asyncio.run(everything(server, o))

    return common.exit_status(run, o)


if __name__ == "__main__":
    sys.exit(main())
