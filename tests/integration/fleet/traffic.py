#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Held-out digits to several nodes at a steady rate, with their labels, until a time is over.

traffic.py HELD_OUT RATE SECONDS NOISE ADDRESS...: RATE requests a second to each address, one
connection each; NOISE is added to every pixel (0: none), as a dirty lens would.
"""
import http.client
import json
import random
import sys
import threading
import time

held_out, rate, seconds, noise = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
digits = []
for line in open(held_out):
    label, body = line.split(" ", 1)
    pixels = [min(16, max(0, p + noise)) for p in json.loads(body)["pixels"]]
    digits.append((label, json.dumps({"pixels": pixels}, separators=(",", ":"))))
answered = 0


def ask(address, seed):
    global answered
    rng, connection, due = random.Random(seed), None, time.monotonic()
    end = due + seconds
    while time.monotonic() < end:
        label, body = rng.choice(digits)
        try:
            connection = connection or http.client.HTTPConnection(address, 8080, timeout=2)
            connection.request("POST", "/classify", body, {"X-Label": label})
            connection.getresponse().read()
            answered += 1
        except OSError:
            connection = None
        except http.client.HTTPException:
            connection = None
        due = max(due + 1 / rate, time.monotonic() - 1)
        time.sleep(max(0, due - time.monotonic()))


threads = [threading.Thread(target=ask, args=(a, i)) for i, a in enumerate(sys.argv[5:])]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(answered)
