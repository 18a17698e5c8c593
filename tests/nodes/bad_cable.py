#!/usr/bin/env python3
"""A cable between two network namespaces that delays packets and loses some of them.

usage: bad_cable.py NAMESPACE ADDRESS/BITS NAMESPACE ADDRESS/BITS DELAY_MS LOSS_PERCENT

Each namespace gets a TUN device `bad` with its address; this program carries the packets between
them until it is killed. It does what `tc netem` does, on kernels without that. Needs root.
"""
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN_WITHOUT_HEADER = 0x0001 | 0x1000


def device(namespace: str, address: str, name: str) -> int:
    """A TUN device in `namespace`, up, with `address`: the file that its packets come from."""
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_WITHOUT_HEADER))
    # It stays attached to the file when it moves.
    for command in [
        f"ip link set {name} netns {namespace}",
        f"ip -n {namespace} link set {name} name bad",
        f"ip -n {namespace} addr add {address} dev bad",
        f"ip -n {namespace} link set bad up",
    ]:
        subprocess.run(command.split(), check=True)
    return file


def main() -> None:
    one, one_address, other, other_address, delay_ms, loss_percent = sys.argv[1:]
    delay, loss = float(delay_ms) / 1e3, float(loss_percent) / 100
    ends = [device(one, one_address, "bad1"), device(other, other_address, "bad2")]
    chance = random.Random(1)
    carried = lost = 0
    waiting: list[tuple[float, int, int, bytes]] = []
    print("ready", flush=True)
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 1.0
        ready, _, _ = select.select(ends, [], [], pause)
        now = time.monotonic()
        for file in ready:
            packet = os.read(file, 65536)
            carried += 1
            if chance.random() < loss:
                lost += 1
                continue
            to = ends[1 - ends.index(file)]
            heapq.heappush(waiting, (now + delay, carried, to, packet))
        while waiting and waiting[0][0] <= now:
            _, _, to, packet = heapq.heappop(waiting)
            try:
                os.write(to, packet)
            except BlockingIOError:
                lost += 1
        if ready and carried % 1000 == 0:
            print(f"{carried} packets, {lost} lost", flush=True)


main()
