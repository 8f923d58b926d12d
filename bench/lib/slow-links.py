"""Couples pairs of TUN devices by links with a rate, a delay, loss and a short queue, packet by packet.

    slow-links.py PAIRS RATE_BITS DELAY_MS LOSS SEED

Makes the devices obw0/obs0, obw1/obs1, ...; prints "ready" and runs until its input ends.
"""
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
# What a modem buffers; more is dropped.
QUEUE_SECONDS = 1.0


def tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
    return fd


pairs, rate, delay, loss, seed = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]) / 1000, float(sys.argv[4]), sys.argv[5]
chance = random.Random(seed)
other, busy_until = {}, {}
for i in range(pairs):
    a, b = tun(f"obw{i}"), tun(f"obs{i}")
    other[a], other[b] = b, a
    busy_until[a] = busy_until[b] = 0.0
print("ready", flush=True)

waiting, count = [], 0
while True:
    now = time.monotonic()
    while waiting and waiting[0][0] <= now:
        _, _, to, packet = heapq.heappop(waiting)
        try:
            os.write(to, packet)
        except OSError:
            pass  # the device is not up, or gone
    timeout = max(0.0, waiting[0][0] - now) if waiting else None
    readable, _, _ = select.select([0, *other], [], [], timeout)
    now = time.monotonic()
    for fd in readable:
        if fd == 0:
            if not os.read(0, 4096):
                sys.exit(0)
            continue
        for _ in range(64):
            try:
                packet = os.read(fd, 65536)
            except OSError:
                break
            start = max(now, busy_until[fd])
            if start - now > QUEUE_SECONDS:
                continue
            busy_until[fd] = start + len(packet) * 8 / rate
            if chance.random() < loss:
                continue
            count += 1
            heapq.heappush(waiting, (busy_until[fd] + delay, count, other[fd], packet))
