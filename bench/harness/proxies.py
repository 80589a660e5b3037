"""One backend and the proxies in front of it, each with as many workers as this machine has cores.

The backend is nginx, started by Archipel as a service of the application under test, so that
every proxy sends its requests to the same process. A proxy is measured by the CPU time of its own
processes alone.
"""

import os
import pathlib
import shutil
import socket
import subprocess
import time

CORES = os.cpu_count() or 1
TICK = os.sysconf("SC_CLK_TCK")

# `reset_timedout_connection` and the like are left alone: what a careful operator sets, no more.
NGINX_COMMON = """
worker_processes {workers};
worker_rlimit_nofile 65536;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
daemon off;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 75s;
    keepalive_requests 10000000;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    {inner}
}}
"""

BACKEND = """
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /healthz {{ return 200 "ok"; }}
        location = /small {{ default_type text/plain; return 200 "{small}"; }}
        location = /post {{ client_max_body_size 1m; client_body_buffer_size 64k; return 200 "ok"; }}
        location / {{ root {dir}/files; }}
    }}
"""

# Keep-alive to the backend and no buffering to disk: nginx as its own guide tunes it for this.
NGINX_PROXY = """
    upstream backend {{ server 127.0.0.1:{backend}; keepalive 512; keepalive_requests 10000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_buffers 16 16k;
            proxy_buffer_size 16k;
            client_body_buffer_size 64k;
        }}
    }}
"""

HAPROXY = """
global
    maxconn 8192
    nbthread {workers}
defaults
    mode http
    option http-keep-alive
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend entrance
    bind 127.0.0.1:{port} backlog 4096
    default_backend backend
backend backend
    server one 127.0.0.1:{backend}
"""

MANIFEST = """
version = 1
[app]
name = "bench"
[services.backend]
run = "nginx -p {dir} -c {dir}/backend.conf"
health = "/healthz"
[gateway]
listen = "127.0.0.1:{port}"
[[gateway.routes]]
match = "/**"
to = "backend"
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port} after 30 s")


def cpu_seconds(pid):
    """User and system time of a process and its children that live."""
    total = 0
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            stat = path.read_text()
        except OSError:
            continue
        fields = stat.rsplit(") ", 1)[1].split()
        one, parent = int(path.parent.name), int(fields[1])
        if pid in (one, parent):
            total += int(fields[11]) + int(fields[12])
    return total / TICK


class Peer:
    """A proxy that is a plain process."""

    def __init__(self, name, port, argv):
        self.name, self.port = name, port
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(port)

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Archipel:
    """The binary under test; its services are not its own CPU time."""

    name = "archipel"

    def __init__(self, binary, work):
        self.binary, self.app, self.port = binary, work / "app", free_port()
        self.app.mkdir()
        (self.app / "archipel.toml").write_text(MANIFEST.format(dir=work, port=self.port))
        backend_port = free_port()
        write_backend(work, backend_port)
        # The port of the backend is the harness' own, not the one of the environment: nginx
        # reads none.
        text = (self.app / "archipel.toml").read_text()
        text = text.replace("health =", f"port = {backend_port}\nhealth =")
        (self.app / "archipel.toml").write_text(text)
        self.run("up", "--detach", "--dashboard-port", "0")
        self.backend = backend_port
        self.pid = int(self.run("ps", "--json").split('"pid":', 1)[1].split(",", 1)[0])

    def run(self, *args):
        done = subprocess.run(
            [self.binary, "-C", self.app, *args], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"archipel {' '.join(args)}: {done.stderr}")
        return done.stdout

    def cpu(self):
        stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(stat[11]) + int(stat[12])) / TICK

    def stop(self):
        self.run("down")


def write_backend(work, port):
    files = work / "files"
    files.mkdir()
    (files / "64k").write_bytes(os.urandom(64 * 1024))
    inner = BACKEND.format(port=port, dir=work, small="x" * 128)
    (work / "backend.conf").write_text(NGINX_COMMON.format(workers=1, dir=work, inner=inner))


def nginx(work, backend):
    work.mkdir()
    port = free_port()
    inner = NGINX_PROXY.format(port=port, backend=backend)
    conf = work / "nginx.conf"
    conf.write_text(NGINX_COMMON.format(workers=CORES, dir=work, inner=inner))
    return Peer("nginx", port, ["nginx", "-p", str(work), "-c", str(conf)])


def haproxy(work, backend):
    work.mkdir()
    port = free_port()
    conf = work / "haproxy.cfg"
    conf.write_text(HAPROXY.format(workers=CORES, port=port, backend=backend))
    return Peer("haproxy", port, ["haproxy", "-db", "-f", str(conf)])


def need(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    if not missing:
        return
    print(f"installing {', '.join(missing)}", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=True)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    subprocess.run(install, env=quiet, check=True, stdout=subprocess.DEVNULL)
