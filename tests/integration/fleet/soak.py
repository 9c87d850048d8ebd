#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random kills of real processes on a fleet that is up (tools/soak.sh starts one).

    soak.py --seed N --kills K --containers C --runtimes R --log FILE

Storms and quiet phases take turns. In a storm a new release goes out while somebody is killed with
SIGKILL every 100 to 300 ms: agents, helpers and the coordinator, or in a storm on containers the
model servers, conmon and runc; or, in a storm on runtimes, every third runc at a random moment of
its life (runtimes.py). What supervises daemons starts them again after a moment. In the quiet phase
the fleet must reach its declared end, and then:

  - daemons only: the rollout completed, and no client's request failed
  - runtimes only: the rollout ended by itself, no client's request failed, and the next rollout, of
    a new release, completes
  - containers too: the rollout ended by itself, and the next one, of a new release, completes
  - every answer was the right label, from the release before or the new one
  - every node is online and serves exactly the release that it should, in one container
  - every rollout that had ended is as it was, every outcome is still in the nodes' histories,
    every acknowledged action of the operator is in the audit log

One line for each storm is added to the log. Findings end the run with code 1, the fleet as it is.
"""
import argparse
import glob
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

from runtimes import Runtimes

BUILD = os.environ["COVEY_BUILD"]
SOURCE = os.environ["COVEY_SOURCE"]
RUN, STATE, NETNS = (os.environ[name] for name in ("FLEET_RUN", "FLEET_STATE", "FLEET_NETNS"))
COVEY = [f"{BUILD}/coordinator/cli/covey"]
ENV = dict(os.environ, COVEY_COORDINATOR=f"ipc://{RUN}/co/coordinator.sock",
           COVEY_HOME=f"{STATE}/operator")
DIGITS = f"{SOURCE}/examples/digits"
SETTLE_S = 240
ENDED = ("completed", "rolled_back", "aborted")
STORM_S = 12
SHARE = 0.4 # of the runtimes that are started in a storm on them
DAEMONS, CONTAINERS, RUNTIMES = range(3)


class Finding(Exception):
    """Something that was promised is not true."""


class Daemons:
    """The fleet's daemons, started again when they end."""

    def __init__(self, nodes):
        self.commands = {("co", "coordinator"): [f"{BUILD}/coordinator/covey-coordinator", "--config",
                                                 f"{STATE}/co/coordinator.conf"]}
        for node in nodes:
            config = ["--config", f"{STATE}/{node}/agent.conf"]
            self.commands[node, "agent"] = [f"{BUILD}/agent/covey-agent"] + config
            self.commands[node, "helper"] = [f"{BUILD}/agent/helper/covey-helper"] + config
        self.processes = {}
        self.over = threading.Event()
        self.random = random.Random()
        for host, program in self.commands:
            self.take_over(host, program)
        self.thread = threading.Thread(target=self.supervise)
        self.thread.start()

    def take_over(self, host, program):
        """From the scripts that brought the fleet up."""
        with open(f"{RUN}/{host}/{program}.pid", encoding="utf-8") as file:
            os.kill(int(file.read()), signal.SIGKILL)
        self.start(host, program)

    def start(self, host, program):
        with open(f"{STATE}/{host}/{program}.log", "ab") as log:
            process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{NETNS}-{host}"] + self.commands[host, program],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.processes[host, program] = process
        with open(f"{RUN}/{host}/{program}.pid", "w", encoding="utf-8") as file:
            print(process.pid, file=file)

    def supervise(self):
        while not self.over.wait(0.02):
            for (host, program), process in list(self.processes.items()):
                if process.poll() is not None:
                    time.sleep(self.random.uniform(0, 0.1))
                    self.start(host, program)

    def kill(self, rng):
        key = rng.choice(sorted(self.processes))
        process = self.processes[key]
        if process.poll() is not None:
            return None
        process.send_signal(signal.SIGKILL)
        return " ".join(key)


def containers():
    """pid -> what: of this fleet's model servers (its control groups know them), conmon and runc."""
    found = {}
    for path in glob.glob("/proc/[0-9]*"):
        pid = int(path[6:])
        try:
            with open(f"{path}/cgroup", encoding="utf-8") as file:
                if f"/covey/{os.environ['FLEET_NAME']}n" in file.read():
                    found[pid] = "container"
            with open(f"{path}/cmdline", "rb") as file:
                words = file.read()
        except OSError:
            continue
        name = words.split(b"\0")[0].rsplit(b"/", 1)[-1]
        if name in (b"conmon", b"runc") and f"{RUN}/".encode() in words:
            found[pid] = name.decode()
    return found


def covey(*words, check=True, seconds=30):
    done = subprocess.run(COVEY + ["--timeout", f"{seconds}s", *words], env=ENV, text=True,
                          capture_output=True, timeout=seconds + 30, check=False)
    if check and done.returncode:
        raise OSError(f"covey {' '.join(words)}: {done.stderr.strip()}")
    return done


def ask(*words):
    """JSON from the coordinator, which may be dead for a moment."""
    end = time.time() + 60
    while True:
        try:
            return json.loads(covey(*words, "-o", "json").stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            if time.time() > end:
                raise
            time.sleep(0.1)


class Fleet:
    def __init__(self, nodes, seed, work):
        self.nodes, self.work, self.seed = nodes, work, seed
        self.addresses = {node: f"10.77.{1 + int(node[1:]) // 250}.{1 + int(node[1:]) % 250}"
                          for node in nodes}
        self.ended, self.histories = {}, {node: [] for node in nodes}
        self.actions, self.number = 0, 0
        self.served, self.completed = None, []

    def insist(self, done, *words):
        """An operator's action, until it is acknowledged or done() says that it is in effect."""
        end, said = time.time() + 120, ""
        while time.time() < end:
            try:
                answer = covey(*words, check=False)
                if answer.returncode == 0:
                    self.actions += 1
                    return
                said = answer.stderr.strip()
            except subprocess.TimeoutExpired:
                said = "no answer in time"
            if done and done():
                return
            time.sleep(0.1)
        raise Finding(f"covey {' '.join(words)} does not succeed: {said}")

    def release(self, kind=None):
        """A release that nobody has seen: pushed; its deployment's file and its version. In a storm
        on runtimes all nodes change at once, and those that fail do not end it for the others."""
        self.number += 1
        version = f"{self.seed}.0.{self.number}"
        folder = f"{self.work}/{version}"
        shutil.copytree(f"{DIGITS}/releases/2.0.0/model", f"{folder}/model")
        with open(f"{folder}/model/extra", "wb") as file:
            file.write(os.urandom(200000))
        text = []
        with open(f"{DIGITS}/releases/2.0.0/release.yaml", encoding="utf-8") as file:
            for line in file:
                key = line.split(":")[0]
                line = {"version": f"version: {version}\n", "files": f"files: {folder}/model\n",
                        "image": f"image: {BUILD}/digits-image\n"}.get(key, line)
                text.append(line.replace("../../", f"{DIGITS}/")
                            .replace("timeout: 500ms", "timeout: 5s"))
        with open(f"{folder}/release.yaml", "w", encoding="utf-8") as file:
            file.writelines(text)
        stages, may_fail = "{nodes: 1, bake: 300ms}, {percent: 100, bake: 300ms}", 1
        if kind == RUNTIMES:
            stages, may_fail = "{percent: 100, bake: 300ms}", len(self.nodes)
        with open(f"{folder}/deployment.yaml", "w", encoding="utf-8") as file:
            file.write(f"""deployment: digits
release: digits@{version}
nodes: all
drain: 300ms
keep_warm: 0s
strategy: {{canary: {{stages: [{stages}]}}}}
max_unavailable: {len(self.nodes)}
failures: {{nodes: {may_fail}, percent: 100, unreachable: 100%}}
deadlines: {{node: 3m, stage: 5m, rollout: 10m}}
gates: [{{metric: latency, dry_run: true}}]
""")
        self.insist(None, "release", "push", "-f", f"{folder}/release.yaml")
        return folder, version

    def newest(self):
        rollouts = ask("rollout", "ls")
        return max(rollouts, key=lambda r: (r["started_at"] or "", r["id"])) if rollouts else None

    def begin(self, folder, version):
        """Starts the rollout; its id."""
        def there():
            newest = self.newest()
            return newest and newest.get("release", newest.get("to")) == f"digits@{version}"
        self.insist(there, "apply", "-y", "--detach", "-f", f"{folder}/deployment.yaml")
        return self.newest()["id"]

    def state(self, rollout):
        return ask("rollout", "show", rollout)["state"]

    def end(self, rollout):
        """Its final state."""
        end = time.time() + SETTLE_S
        while time.time() < end:
            show = ask("rollout", "show", rollout)
            if show["state"] in ENDED:
                return show["state"]
            if show["state"] in ("stuck", "paused"):
                raise Finding(f"rollout {rollout} is {show['state']}: {show['reason']}")
            time.sleep(0.1)
        raise Finding(f"rollout {rollout} does not end: {show['state']}, {show['nodes']}")

    # ---- what must be true when it is quiet ----

    def stands(self):
        """None, or what is not so yet."""
        want = f"digits@{self.served}"
        for node in ask("node", "ls"):
            slots = [(s["release"], s["state"]) for s in node["slots"]]
            if node["state"] != "online" or slots != [(want, "serving")]:
                return f"{node['name']} is {node['state']}, {slots}; wanted {want}"
        for node in self.nodes:
            pids = [path for path in glob.glob(f"/sys/fs/cgroup/**/covey/*{node}/*/cgroup.procs",
                                               recursive=True)
                    if os.environ["FLEET_NAME"] in path and os.path.getsize(path) >= 0
                    and open(path, encoding="utf-8").read().split()]
            slots = {path.split("/")[-2] for path in pids}
            if len(slots) != 1:
                return f"{node} has containers in {sorted(slots)}"
        return None

    def check_stands(self):
        end = time.time() + SETTLE_S
        while (wrong := self.stands()):
            if time.time() > end:
                raise Finding(wrong)
            time.sleep(0.2)

    def check_memory(self):
        states = {r["id"]: r["state"] for r in ask("rollout", "ls")}
        for rollout, state in self.ended.items():
            if states.get(rollout) != state:
                raise Finding(f"rollout {rollout} had ended {state}, now {states.get(rollout)}")
        self.ended = {r: s for r, s in states.items() if s in ENDED}
        for node in self.nodes:
            text = subprocess.run(
                [f"{BUILD}/agent/covey-agent", "history", "-o", "json", "--config",
                 f"{STATE}/{node}/agent.conf"], capture_output=True, text=True, check=True).stdout
            history = [json.dumps(item, sort_keys=True) for item in json.loads(text)]
            lost = set(self.histories[node]) - set(history)
            if lost:
                raise Finding(f"{node} forgot {lost}")
            self.histories[node] = sorted(history, key=self.when)[-50:] # a node keeps 100
        audit = self.audit()
        if audit < self.actions:
            raise Finding(f"the audit log has {audit} entries, {self.actions} were acknowledged")

    @staticmethod
    def when(item):
        return json.loads(item)["end"]["at"]

    def audit(self):
        """From a copy, since the coordinator's own lock is exclusive; again where it wrote meanwhile."""
        copy = f"{self.work}/audit.db"
        for left in range(20, -1, -1):
            for tail in ("", "-wal"):
                shutil.copy(f"{STATE}/co/state/coordinator.db{tail}", copy + tail)
            try:
                with sqlite3.connect(copy) as database:
                    return database.execute("SELECT count(*) FROM audit").fetchone()[0]
            except sqlite3.DatabaseError:
                if not left:
                    raise
            finally:
                for path in glob.glob(copy + "*"):
                    os.unlink(path)
            time.sleep(0.1)
        return 0

    # ---- clients ----

    def clients(self):
        return subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{NETNS}-co", sys.executable,
             f"{SOURCE}/tests/integration/fleet/load.py", f"{DIGITS}/golden/seven.json", "7",
             *self.addresses.values()], stdout=subprocess.PIPE, text=True)


def kill_daemons(daemons, rng, most):
    """Who was killed, in this order."""
    kills, last = [], time.time() + STORM_S
    while time.time() < last and len(kills) < most:
        time.sleep(rng.uniform(0.1, 0.3))
        victim = daemons.kill(rng)
        kills += [victim] if victim else []
    return kills


def kill_containers(rng, most):
    kills, last = [], time.time() + STORM_S
    while time.time() < last and len(kills) < most:
        time.sleep(rng.uniform(0.1, 0.3))
        found = containers()
        if not found:
            continue
        pid = rng.choice(sorted(found))
        try:
            os.kill(pid, signal.SIGKILL)
            kills.append(found[pid])
        except ProcessLookupError:
            pass
    return kills


def kill_runtimes(rng, most, is_over):
    """Until the rollout has ended, at least for the length of a storm."""
    runtimes = Runtimes(RUN, STATE, SHARE, rng.random())
    began = time.time()
    try:
        while len(runtimes.kills) < most and \
                (time.time() < began + STORM_S or not is_over()) and time.time() < began + 5 * STORM_S:
            time.sleep(0.2)
    finally:
        kills = runtimes.close()
    return kills


def storm(fleet, daemons, rng, most, kind):
    """One storm and its quiet phase: who was killed, how the rollout ended, what clients saw."""
    folder, version = fleet.release(kind)
    clients, old, begun = fleet.clients(), fleet.served, []
    versions = [old, version]
    try:
        thread = threading.Thread(target=lambda: begun.append(fleet.begin(folder, version)))
        thread.start()
        if kind == DAEMONS:
            kills = kill_daemons(daemons, rng, most)
        elif kind == CONTAINERS:
            kills = kill_containers(rng, most)
        else:
            kills = kill_runtimes(rng, most, lambda: begun and fleet.state(begun[0]) in ENDED)
        thread.join()
        if not begun:
            raise Finding("the rollout could not be started")
        state = fleet.end(begun[0])
        if state == "completed":
            fleet.served = version
        elif kind == DAEMONS:
            raise Finding(f"rollout {begun[0]} ended {state}")
        if kind != DAEMONS: # nodes may have gone back, and then do not run that release again
            folder, version = fleet.release()
            versions.append(version)
            if fleet.end(fleet.begin(folder, version)) != "completed":
                raise Finding("the rollout in the quiet phase does not complete")
            fleet.served = version
        fleet.check_stands()
        fleet.check_memory()
    finally:
        clients.terminate()
        result = json.loads(clients.communicate(timeout=60)[0])
    if kind == CONTAINERS: # one that ends again and again leads back to the release before
        versions += fleet.completed
    strangers = set(result["releases"]) - {f"digits@{v}" for v in versions}
    fleet.completed += [old, fleet.served]
    if result["wrong"] or strangers or (result["failed"] and kind != CONTAINERS):
        raise Finding(f"clients: {result}")
    return kills, state, result


def draw_kind(left, rng):
    """What the next storm is about: daemons as long as some are left, now and then the others."""
    rest = [kind for kind in (CONTAINERS, RUNTIMES) if left[kind] > 0]
    if rest and (left[DAEMONS] <= 0 or rng.random() < 0.4):
        return rng.choice(rest)
    return DAEMONS


def main():
    parser = argparse.ArgumentParser()
    for name in ("seed", "kills", "containers", "runtimes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--log", required=True)
    options = parser.parse_args()
    nodes = sorted((os.path.basename(p) for p in glob.glob(f"{RUN}/n[0-9]*")), key=lambda n: int(n[1:]))
    rng = random.Random(options.seed)
    left = {DAEMONS: options.kills - options.containers - options.runtimes,
            CONTAINERS: options.containers, RUNTIMES: options.runtimes}
    findings = 0
    with tempfile.TemporaryDirectory() as work:
        fleet, daemons = Fleet(nodes, options.seed, work), Daemons(nodes)
        try:
            folder, version = fleet.release()
            if fleet.end(fleet.begin(folder, version)) != "completed":
                raise Finding("the first rollout does not complete")
            fleet.served = version
            fleet.check_stands()
            while any(count > 0 for count in left.values()):
                kind = draw_kind(left, rng)
                kills, state, result = storm(fleet, daemons, rng, left[kind], kind)
                left[kind] -= len(kills)
                kills = [k if k.startswith("runc") else k.split()[-1] for k in kills]
                line = {"at": time.strftime("%FT%TZ", time.gmtime()), "seed": options.seed,
                        "kills": {n: kills.count(n) for n in sorted(set(kills))},
                        "ended": state, "requests": result["requests"], "failed": result["failed"],
                        "findings": 0}
                with open(options.log, "a", encoding="utf-8") as log:
                    print(json.dumps(line), file=log)
                print(json.dumps(line), flush=True)
        except Finding as finding:
            findings = 1
            with open(options.log, "a", encoding="utf-8") as log:
                print(json.dumps({"at": time.strftime("%FT%TZ", time.gmtime()), "seed": options.seed,
                                  "kills": {}, "findings": 1, "text": str(finding)}), file=log)
            print(f"finding, seed {options.seed}: {finding}", flush=True)
        finally:
            daemons.over.set()
            daemons.thread.join()
    return findings


if __name__ == "__main__":
    sys.exit(main())
