"""What is asked of a proxy, what that cost it, and how the cost is told."""

import json
import os
import re
import statistics
import subprocess
from dataclasses import dataclass

from harness.process import ROOT


# A peer may fail once in so many; Archipel may not.
FEW = 100


@dataclass(frozen=True)
class Load:
    name: str
    path: str
    connections: int
    # A port of the proxy: what its clients speak. A load runs on the proxies that have it.
    front: str = "http1"
    # HTTP/2: requests at once on each connection.
    streams: int = 0
    kind: str = "get"


def drive(proxy, load, work, seconds):
    """Microseconds of CPU per request."""
    scheme = "https" if load.front == "https" else "http"
    url = f"{scheme}://127.0.0.1:{proxy.ports[load.front]}{load.path}"
    if load.kind == "full":
        # Forgets its session each time, as a client that was never here.
        command = ["openssl", "s_time", "-new", "-tls1_3", "-time", str(seconds), "-www", load.path]
        command += ["-connect", f"127.0.0.1:{proxy.ports[load.front]}"]
    elif load.streams:
        command = ["h2load", f"-c{load.connections}", f"-m{load.streams}", f"-D{seconds}", url]
        if load.kind == "grpc":
            command += ["-d", str(work / "grpc-request"), "-H", "te: trailers"]
            command += ["-H", "content-type: application/grpc"]
    else:
        command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", url]
        if load.kind != "get":
            command += ["-s", str(work / f"{load.kind}.lua")]
    before = proxy.cpu()
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = proxy.cpu() - before
    return used * 1e6 / answered(output, load, f"{proxy.name}, {load.name}")


def answered(output, load, what):
    if load.kind == "full":
        done, size = map(int, re.search(r"(\d+) connections in .* real seconds, (\d+) bytes", output).groups())
        wrong = size < 128
    elif load.streams:
        # Those that are under way at the end count as errored.
        done = int(re.search(r"requests: .* (\d+) succeeded", output).group(1))
        codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
        wrong = sum(int(codes.group(n)) for n in (2, 3, 4))
        # nginx answers a few of a thousand with 502 when its gRPC backend is busy; it is told.
        if 0 < wrong * FEW < done and not what.startswith("archipel"):
            print(f"{what}: {wrong} of {done} answers were failures", flush=True)
            wrong = 0
    else:
        done = int(re.search(r"(\d+) requests in", output).group(1))
        wrong = re.search(
            r"Non-2xx.*|Socket errors: (?!connect 0, read 0, write 0, timeout 0).*", output
        )
    if wrong or not done:
        raise RuntimeError(f"{what}: {output}")
    return done


def report(scenario, measured, names):
    """Medians to the screen, everything to `bench/results`."""
    head = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(head, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    print(f"{'us CPU per request, median':48}" + "".join(f"{name:>10}" for name in names) + "  to nginx")
    results = ROOT / f"bench/results/{scenario}.jsonl"
    results.parent.mkdir(exist_ok=True)
    with results.open("a") as file:
        for load, costs in measured.items():
            medians = {name: statistics.median(values) for name, values in costs.items()}
            shown = f"{load:48}" + "".join(f"{medians.get(name, 0):10.1f}" for name in names)
            ratio = medians["archipel"] / medians["nginx"] if "nginx" in medians else 0
            print(shown + f"{ratio:10.2f}")
            for name, values in costs.items():
                line = {"scenario": f"{scenario}/{load}", "proxy": name, "commit": commit}
                line |= {"unit": "us CPU/request", "machine": f"{os.cpu_count()} cores"}
                line |= {"min": min(values), "n": len(values), "median": medians[name]}
                line |= {"max": max(values)}
                rounded = {k: round(v, 2) if isinstance(v, float) else v for k, v in line.items()}
                file.write(json.dumps(rounded) + "\n")
