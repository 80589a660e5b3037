"""What stands behind every proxy: an nginx for HTTP/1.1, another for gRPC, an app for WebSockets.

They are started by Archipel as services of the application under test, so that every proxy sends
its requests to the same processes. The answers cost next to nothing: gRPC's are files with the
trailer that the protocol wants.
"""

import os
import pathlib
import struct
import subprocess

# `reset_timedout_connection` and the like are left alone: what a careful operator sets, no more.
NGINX = """
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

WEB = """
    server {{
        listen 127.0.0.1:{http} backlog=4096;
        location = /healthz {{ return 200 "ok"; }}
        location /r {{ default_type text/plain; return 200 "{small}"; }}
        location = /small {{ default_type text/plain; return 200 "{small}"; }}
        location = /post {{ client_max_body_size 1m; client_body_buffer_size 64k; return 200 "ok"; }}
        location / {{ root {dir}/files; }}
    }}
"""

ECHO = """
    server {{
        listen 127.0.0.1:{grpc} http2 backlog=4096;
        http2_max_concurrent_streams 1024;
        root {dir}/files;
        location /bench.Echo/ {{
            default_type application/grpc;
            add_trailer grpc-status 0 always;
            error_page 405 =200 $uri;
        }}
    }}
"""

MANIFEST = """
version = 1
[app]
name = "{name}"
[services.web]
run = "nginx -p {dir}/web -c {dir}/web/nginx.conf"
port = {http}
health = "/healthz"
[services.echo]
run = "nginx -p {dir}/echo -c {dir}/echo/nginx.conf"
port = {grpc}
protocol = "grpc"
[services.sockets]
run = "python3 {harness}/websockets.py {sockets}"
port = {sockets}
[gateway]
listen = "127.0.0.1:{listen}"
[[gateway.routes]]
match = "/bench.Echo/**"
to = "echo"
[[gateway.routes]]
match = "/sockets"
to = "sockets"
"""

ROUTE = """
[[gateway.routes]]
match = "{path}"
to = "web"
"""


def manifest(work, ports, listen, routes=("/**",), name="bench", tls=None):
    here = pathlib.Path(__file__).parent
    head = MANIFEST.format(name=name, dir=work, listen=listen, harness=here, **ports)
    if tls:
        files = f'[gateway]\ntls = {{ cert = "{tls["cert"]}", key = "{tls["key"]}" }}'
        head = head.replace("[gateway]", files)
    return head + "".join(ROUTE.format(path=path) for path in routes)


def certificate(work):
    """Files of a P-256 certificate for 127.0.0.1: `cert`, `key`, and both in one."""
    files = {name: work / f"{name}.pem" for name in ("cert", "key", "pair")}
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", files["key"], "-out", files["cert"]]
    subprocess.run(command, check=True, capture_output=True)
    files["pair"].write_bytes(files["cert"].read_bytes() + files["key"].read_bytes())
    return files


def message(size):
    return struct.pack(">BI", 0, size) + b"x" * size


def write(work, ports):
    """The files of the backend. `ports`: http, grpc, sockets."""
    files = work / "files"
    (files / "bench.Echo").mkdir(parents=True)
    (files / "64k").write_bytes(os.urandom(64 * 1024))
    (files / "bench.Echo/Unary").write_bytes(message(128))
    (files / "bench.Echo/Stream").write_bytes(message(1024) * 100)
    (work / "grpc-request").write_bytes(message(128))
    for name, server in (("web", WEB), ("echo", ECHO)):
        own = work / name
        own.mkdir()
        inner = server.format(dir=work, small="x" * 128, **ports)
        (own / "nginx.conf").write_text(NGINX.format(workers=1, dir=own, inner=inner))
