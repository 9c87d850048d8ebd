#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gap.py ADDRESS PORT SECONDS: asks once a millisecond, each time on a new connection; prints the
longest time without a good answer (from the last good one before the first failure to the next good
one) in milliseconds, and the number of failed requests."""
import socket
import sys
import time

ADDRESS, PORT, SECONDS = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n"


def ask():
    try:
        with socket.create_connection((ADDRESS, PORT), timeout=0.25) as s:
            s.sendall(REQUEST)
            return s.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


end = time.monotonic() + SECONDS
last_good, worst, failed = time.monotonic(), 0.0, 0
bad_since = None
while time.monotonic() < end:
    if ask():
        now = time.monotonic()
        if bad_since is not None:
            worst = max(worst, now - last_good)
            bad_since = None
        last_good = now
    else:
        failed += 1
        bad_since = bad_since or last_good
    time.sleep(0.001)
print(f"{worst * 1000:.1f} {failed}")
