# SPDX-License-Identifier: Apache-2.0
"""Kills container runtimes, which live for some 50 ms, at random moments of their lives.

The kernel's process connector tells of each program that begins and each process that ends. A runc
of this fleet gets SIGKILL after a random part of the time that the last one with the same
subcommand lived, through a pidfd, so that nobody else can be hit.
"""
import os
import random
import select
import signal
import socket
import struct
import threading
import time

NETLINK_CONNECTOR, CN_IDX_PROC, CN_VAL_PROC = 11, 1, 1
LISTEN = 1
EXEC, EXIT = 0x00000002, 0x80000000
EVENT_AT, PIDS_AT = 36, 52 # after nlmsghdr and cn_msg: what, cpu, time, then pid and tgid
SUBCOMMANDS = (b"create", b"start", b"delete", b"kill", b"exec", b"state", b"init")
LIFE_S = 0.05


def subcommand(words):
    """create, start, ...; those of containers that are being made have no other words than init."""
    return next((w.decode() for w in words[1:] if w in SUBCOMMANDS), "")


class Runtimes:
    """While it is open, each runc of the fleet is killed with a probability."""

    def __init__(self, run, state, share, seed):
        self.marks = (run.encode() + b"/", state.encode() + b"/")
        self.share, self.random = share, random.Random(seed)
        self.kills, self.seen, self.timers = [], 0, []
        self.born, self.lives = {}, {}
        self.lock, self.over = threading.Lock(), threading.Event()
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR)
        self.socket.bind((0, CN_IDX_PROC))
        order = struct.pack("=IIIIHHI", CN_IDX_PROC, CN_VAL_PROC, 0, 0, 4, 0, LISTEN)
        self.socket.send(struct.pack("=IHHII", 16 + len(order), 3, 0, 0, 0) + order)
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def close(self):
        """Who was killed: the subcommands."""
        self.over.set()
        self.thread.join()
        self.socket.close()
        for timer in self.timers:
            timer.join()
        return self.kills

    def watch(self):
        while not self.over.is_set():
            if not select.select([self.socket], [], [], 0.05)[0]:
                continue
            try:
                data = self.socket.recv(8192)
            except OSError: # more news than the buffer holds: some runtimes are not seen
                continue
            what, = struct.unpack_from("=I", data, EVENT_AT)
            pid, thread_group = struct.unpack_from("=II", data, PIDS_AT)
            if pid == thread_group and what == EXEC:
                self.began(pid)
            elif pid == thread_group and what == EXIT:
                self.ended(pid)

    def is_ours(self, pid, words):
        """By the fleet's folders on its command line; runc init by the runc that started it."""
        if words[0].rsplit(b"/", 1)[-1] != b"runc":
            return False
        if any(mark in word for word in words for mark in self.marks):
            return True
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rsplit(b")", 1)[1].split()[1]) in self.born

    def began(self, pid):
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            ours = self.is_ours(pid, words)
        except OSError:
            ours = False
        if not ours:
            os.close(fd)
            return
        kind = subcommand(words)
        self.seen += 1
        self.born[pid] = (kind, time.monotonic())
        if self.random.random() >= self.share:
            os.close(fd)
            return
        delay = self.random.uniform(0, self.lives.get(kind, LIFE_S))
        timer = threading.Timer(delay, self.kill, (fd, kind))
        timer.start()
        self.timers.append(timer)

    def ended(self, pid):
        kind, began = self.born.pop(pid, (None, 0))
        if kind is not None:
            self.lives[kind] = time.monotonic() - began

    def kill(self, fd, kind):
        try:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            with self.lock:
                self.kills.append(f"runc {kind}")
        except ProcessLookupError:
            pass # it was through
        finally:
            os.close(fd)
