#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One race: every node of a bench fleet gets the same file from the seed, with one tool.

Prints one JSON object: seconds from the start until the first, the median and the last node had a
whole, verified copy; bytes that the seed's and the nodes' links sent; CPU seconds of the tool's
processes, and the share of all processors that nobody used; whether every copy has the right
digest. The network namespaces are there already (bench/distribution.sh); a node counts as done when
its tool says so: a file under its final name.
"""
import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse

PIECE = 256 << 10
PORT = 6881
V1_ONLY = 64  # libtorrent's create_torrent::v1_only: a torrent that all clients read


def netns(prefix, host):
    return ["nsenter", f"--net=/run/netns/{prefix}-{host}"]


def link_bytes(prefix, host, port="eth0"):
    text = subprocess.run(netns(prefix, host) + ["cat", "/proc/net/dev"], capture_output=True, text=True).stdout
    for line in text.splitlines():
        if line.strip().startswith(port + ":"):
            return int(line.split(":")[1].split()[8])
    return 0


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        try:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / os.sysconf("SC_CLK_TCK")


def machine_ticks():
    """All processor time of the machine so far, and how much of it was idle."""
    fields = [int(field) for field in open("/proc/stat").readline().split()[1:9]]
    return sum(fields), fields[3] + fields[4]


def digest(path):
    hasher = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


class Race:
    """What tools share: processes in namespaces, a folder for each host, a payload at the seed."""

    def __init__(self, args):
        self.args = args
        self.nodes = [f"n{i}" for i in range(1, args.nodes + 1)]
        self.processes = []
        self.name = "payload.bin"
        for host in ["co"] + self.nodes:
            shutil.rmtree(self.folder(host), ignore_errors=True)
            os.makedirs(self.folder(host))

    def folder(self, host):
        return f"{self.args.work}/{host}"

    def start(self, host, command, **options):
        process = subprocess.Popen(netns(self.args.netns, host) + command, stdout=subprocess.DEVNULL,
                                   stderr=open(f"{self.folder(host)}/log", "ab"), start_new_session=True, **options)
        self.processes.append(process)
        return process

    def prepare(self):
        """Everything before the clock starts."""

    def begin(self):
        """The seed has the file; nodes begin."""

    def copy(self, host):
        """The node's copy once it is whole and verified, or None."""
        path = f"{self.folder(host)}/{self.name}"
        return path if os.path.exists(path) else None

    def pids(self):
        return [process.pid for process in self.processes]

    def look(self):
        """Called all the time while the race goes on."""

    def costs(self):
        """What one node paid, for the tools that say so."""
        return {}

    def end(self):
        for process in self.processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


class Torrent(Race):
    """What the three BitTorrent clients share: a torrent and a tracker in the seed's namespace."""

    def prepare(self):
        import libtorrent
        os.link(self.args.payload, f"{self.folder('co')}/{self.name}")
        storage = libtorrent.file_storage()
        libtorrent.add_files(storage, f"{self.folder('co')}/{self.name}")
        torrent = libtorrent.create_torrent(storage, PIECE, V1_ONLY)
        torrent.add_tracker(f"http://{self.args.seed}:6969/announce")
        libtorrent.set_piece_hashes(torrent, self.folder("co"))
        self.torrent = f"{self.args.work}/payload.torrent"
        open(self.torrent, "wb").write(libtorrent.bencode(torrent.generate()))
        self.start("co", [sys.executable, __file__, "--tracker", self.args.seed])
        self.tracker = self.processes.pop()
        time.sleep(0.5)

    def end(self):
        self.processes.append(self.tracker)
        super().end()


class Libtorrent(Torrent):
    def begin(self):
        for host in ["co"] + self.nodes:
            self.start(host, [sys.executable, __file__, "--libtorrent", self.torrent, self.folder(host)])

    def copy(self, host):
        return super().copy(host) if os.path.exists(f"{self.folder(host)}/done") else None


class Aria2(Torrent):
    def begin(self):
        for host in ["co"] + self.nodes:
            hook = f"{self.folder(host)}/hook"
            open(hook, "w").write(f"#!/bin/sh\ntouch {self.folder(host)}/done\n")
            os.chmod(hook, 0o755)
            self.start(host, ["aria2c", "--no-conf", "--quiet", "--enable-dht=false", "--enable-dht6=false",
                              "--bt-enable-lpd=false", "--enable-peer-exchange=true", "--seed-ratio=0.0",
                              "--file-allocation=none", f"--listen-port={PORT}", "--bt-max-peers=0",
                              "--bt-request-peer-speed-limit=1000M", "--check-integrity=true", "--summary-interval=0",
                              f"--on-bt-download-complete={hook}", f"--dir={self.folder(host)}", self.torrent])

    def copy(self, host):
        return super().copy(host) if os.path.exists(f"{self.folder(host)}/done") else None


class Transmission(Torrent):
    def begin(self):
        for number, host in enumerate(["co"] + self.nodes):
            config = f"{self.folder(host)}/config"
            os.makedirs(config)
            json.dump({"dht-enabled": False, "lpd-enabled": False, "pex-enabled": True, "utp-enabled": False,
                       "port-forwarding-enabled": False, "peer-port": PORT, "rpc-port": 9091, "encryption": 0,
                       "incomplete-dir-enabled": host != "co", "incomplete-dir": f"{self.folder(host)}/part",
                       "download-dir": self.folder(host), "preallocation": 0, "upload-slots-per-torrent": 20,
                       "peer-limit-per-torrent": 60, "cache-size-mb": 16, "watch-dir-enabled": True,
                       "watch-dir": f"{config}/watch"}, open(f"{config}/settings.json", "w"))
            os.makedirs(f"{config}/watch")
            shutil.copy(self.torrent, f"{config}/watch/payload.torrent")
            self.start(host, ["transmission-daemon", "-f", "-g", config])


class Http(Race):
    def prepare(self):
        folder = self.folder("co")
        os.link(self.args.payload, f"{folder}/{self.name}")
        os.chmod(self.args.work, 0o755)
        open(f"{folder}/nginx.conf", "w").write(
            f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;\n"
            "events { worker_connections 256; }\n"
            f"http {{ access_log off; sendfile on; server {{ listen {self.args.seed}:8081; root {folder}; }} }}\n")
        self.start("co", ["nginx", "-c", f"{folder}/nginx.conf"])
        time.sleep(0.5)

    def begin(self):
        for host in self.nodes:
            part = f"{self.folder(host)}/part"
            self.start(host, ["sh", "-c", f"curl -sf -o {part} http://{self.args.seed}:8081/{self.name} && "
                                          f"sha256sum {part} >/dev/null && mv {part} {self.folder(host)}/{self.name}"])


class Covey(Race):
    """The fleet runs; its agents and their blobs are in the fleet's state folder."""

    def prepare(self):
        self.apply = self.args.covey.split() + ["apply", "-y", "--detach", "-f", self.args.deployment]
        self.size = os.path.getsize(self.args.payload)
        self.agent = self.pids()[1]
        self.pss, self.marks, self.looked = 0, {}, 0

    def begin(self):
        self.received = self.link_received()
        subprocess.run(self.apply, check=True, stdout=subprocess.DEVNULL)

    def link_received(self):
        for line in open(f"/proc/{self.agent}/net/dev"):
            if line.strip().startswith("eth0:"):
                return int(line.split(":")[1].split()[0])
        return 0

    def look(self):
        """The first node's agent: memory, processor time, when it had a tenth and nine tenths."""
        now, got = time.monotonic(), self.link_received() - self.received
        for tenth in (1, 9):
            if tenth not in self.marks and got >= self.size * tenth / 10:
                self.marks[tenth] = now, got, cpu_seconds([self.agent])
        if now > self.looked + 0.2:
            self.looked = now
            for line in open(f"/proc/{self.agent}/smaps_rollup"):
                if line.startswith("Pss:"):
                    self.pss = max(self.pss, int(line.split()[1]))

    def costs(self):
        if 9 not in self.marks:
            return {}
        (then, got, spent), (now, got_all, spent_all) = self.marks[1], self.marks[9]
        return {"agent_pss_kb": self.pss, "agent_core": round((spent_all - spent) / (now - then), 3),
                "agent_mb_s": round((got_all - got) / (now - then) / 1e6, 1)}

    def copy(self, host):
        for entry in os.scandir(f"{self.args.state}/{host}/agent/blobs"):
            if entry.stat().st_size == self.size:
                return entry.path
        return None

    def pids(self):
        return [int(open(f"/run/covey-{self.args.fleet}/{host}/{name}.pid").read())
                for host, name in [("co", "coordinator")] + [(node, "agent") for node in self.nodes]]


TOOLS = {"covey": Covey, "aria2": Aria2, "libtorrent": Libtorrent, "transmission": Transmission, "http": Http}


def run(args):
    race = TOOLS[args.tool](args)
    done = {}
    try:
        race.prepare()
        hosts = ["co"] + race.nodes
        before = {host: link_bytes(args.netns, host) for host in hosts}
        sites = [link_bytes(args.netns, "sw", f"site{i}") for i in range(args.sites)]
        busy = cpu_seconds(race.pids())
        ticks, idle = machine_ticks()
        began = time.monotonic()
        race.begin()
        while len(done) < len(race.nodes) and time.monotonic() < began + args.timeout:
            for host in race.nodes:
                if host not in done and race.copy(host):
                    done[host] = time.monotonic() - began
            race.look()
            time.sleep(0.01)
        sent = {host: link_bytes(args.netns, host) - before[host] for host in hosts}
        sites = [link_bytes(args.netns, "sw", f"site{i}") - sites[i] for i in range(args.sites)]
        busy = cpu_seconds(race.pids()) - busy
        ticks, idle = (now - then for now, then in zip(machine_ticks(), (ticks, idle)))
        want = digest(args.payload)
        right = len(done) == len(race.nodes) and all(digest(race.copy(host)) == want for host in race.nodes)
    finally:
        race.end()
    times = sorted(done.values()) or [float("nan")]
    print(json.dumps({"tool": args.tool, "nodes": args.nodes, "bytes": os.path.getsize(args.payload),
                      "finished": len(done), "first": round(times[0], 2), "median": round(times[len(times) // 2], 2),
                      "last": round(times[-1], 2) if len(done) == len(race.nodes) else None,
                      "seed_sent": sent["co"], "nodes_sent": sum(sent.values()) - sent["co"], "site_sent": max(sites, default=0),
                      "cpu": round(busy, 2), "idle": round(idle / ticks, 3), "right": right} | race.costs()))


# ---- the BitTorrent tools' own helpers ----

def track(address):
    """A tracker for one torrent: whoever announces is told all others, again after two seconds."""
    import http.server
    peers = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if not self.path.startswith("/announce"):
                return self.send_error(404)
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            peers[self.client_address[0]] = int(query["port"][0])
            packed = b"".join(bytes(int(part) for part in ip.split(".")) + port.to_bytes(2, "big")
                              for ip, port in peers.items() if ip != self.client_address[0])
            body = b"d8:intervali2e12:min intervali2e5:peers%d:%se" % (len(packed), packed)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer((address, 6969), Handler).serve_forever()


def share(torrent, folder):
    import libtorrent
    session = libtorrent.session({"listen_interfaces": f"0.0.0.0:{PORT}", "enable_dht": False, "enable_lsd": False,
                                  "enable_upnp": False, "enable_natpmp": False, "unchoke_slots_limit": -1,
                                  "connections_limit": 200, "enable_outgoing_utp": False,
                                  "enable_incoming_utp": False, "min_announce_interval": 2,
                                  "in_enc_policy": 2, "out_enc_policy": 2})
    handle = session.add_torrent({"ti": libtorrent.torrent_info(torrent), "save_path": folder})
    while not handle.status().is_seeding:
        time.sleep(0.02)
    open(f"{folder}/done", "w").close()
    while True:
        time.sleep(60)


def main():
    if sys.argv[1:2] == ["--tracker"]:
        return track(sys.argv[2])
    if sys.argv[1:2] == ["--libtorrent"]:
        return share(sys.argv[2], sys.argv[3])
    parser = argparse.ArgumentParser()
    parser.add_argument("tool", choices=TOOLS)
    for name in ["netns", "seed", "work", "payload", "covey", "deployment", "state", "fleet"]:
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--sites", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=300)
    return run(parser.parse_args())


sys.exit(main())
