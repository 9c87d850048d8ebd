#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients of a fleet's nodes, a new connection for each request, until SIGTERM; then one JSON object:
requests, failed (with the first few reasons), and for each release how often it answered. An answer
that is not the right label counts as wrong."""
import http.client
import json
import os
import signal
import sys
import threading
import time

PAUSE_S = 0.04
BODY = open(sys.argv[1], "rb").read()
LABEL = int(sys.argv[2])
result = {"requests": 0, "failed": 0, "wrong": 0, "releases": {}, "reasons": []}
lock = threading.Lock()
over = threading.Event()
parent = os.getppid()


def ask(address):
    connection = http.client.HTTPConnection(address, 8080, timeout=10)
    try:
        connection.request("POST", "/classify", BODY, {"Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read()
        if response.status != 200:
            raise OSError(f"status {response.status}")
        return json.loads(data)
    finally:
        connection.close()


def client(address):
    while not over.is_set() and os.getppid() == parent: # whoever asked may be gone
        began = time.time()
        answer, reason = None, None
        try:
            answer = ask(address)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = f"{address} after {time.time() - began:.2f} s at {began:.2f}: {error!r}"
        with lock:
            result["requests"] += 1
            if reason:
                result["failed"] += 1
                result["reasons"] = result["reasons"][:9] + [reason]
            else:
                release = answer.get("release", "?")
                result["releases"][release] = result["releases"].get(release, 0) + 1
                result["wrong"] += answer.get("label") != LABEL
        over.wait(PAUSE_S)


signal.signal(signal.SIGTERM, lambda *_: over.set())
threads = [threading.Thread(target=client, args=(address,)) for address in sys.argv[3:]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(result))
