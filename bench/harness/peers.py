"""The proxies beside Archipel, each as its own guide tunes it for this, with as many workers as
this machine has cores, and in front of the same backend.

Each gets the same three ways: gRPC by path, WebSockets by path, the rest over HTTP/1.1. None of
them writes an access log, a span or a metric per route; Archipel does all of that.
"""

import json

from harness import backend
from harness.process import CORES, Peer, free_port, wheel

NGINX_UPSTREAMS = """
    upstream web {{ server 127.0.0.1:{http}; keepalive 512; keepalive_requests 10000000; }}
    upstream echo {{ server 127.0.0.1:{grpc}; keepalive 64; keepalive_requests 10000000; }}
    upstream sockets {{ server 127.0.0.1:{sockets}; }}
    client_body_buffer_size 64k;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_buffers 16 16k;
    proxy_buffer_size 16k;
    grpc_buffer_size 16k;
"""

NGINX_SERVER = """
    server {{
        listen 127.0.0.1:{port} {speaks} backlog=4096;
        {routes}
        location /bench.Echo/ {{ grpc_pass grpc://echo; }}
        location = /sockets {{
            proxy_pass http://sockets;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
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
    timeout tunnel 1h
frontend http1
    bind 127.0.0.1:{http1} backlog 4096
    use_backend sockets if {{ path /sockets }}
    default_backend web
frontend https
    bind 127.0.0.1:{https} backlog 4096 ssl crt {pair} alpn h2,http/1.1
    default_backend web
frontend http2
    bind 127.0.0.1:{http2} backlog 4096 proto h2
    use_backend echo if {{ path_beg /bench.Echo/ }}
    default_backend web
backend web
    server one 127.0.0.1:{http}
backend echo
    server one 127.0.0.1:{grpc} proto h2
backend sockets
    server one 127.0.0.1:{sockets}
"""

CADDY = """
{{
    admin off
    auto_https off
    servers {{
        protocols h1 h2 h2c
    }}
    log {{
        level ERROR
    }}
}}
https://127.0.0.1:{https} {{
    tls {cert} {key}
    reverse_proxy 127.0.0.1:{http} {{
        transport http {{
            keepalive_idle_conns_per_host 512
        }}
    }}
}}
http://127.0.0.1:{port} {{
    handle /bench.Echo/* {{
        reverse_proxy h2c://127.0.0.1:{grpc}
    }}
    handle /sockets {{
        reverse_proxy 127.0.0.1:{sockets}
    }}
    reverse_proxy 127.0.0.1:{http} {{
        transport http {{
            keepalive_idle_conns_per_host 512
        }}
    }}
}}
"""

TRAEFIK = """
http:
  routers:
    echo: {{ rule: "PathPrefix(`/bench.Echo/`)", service: echo, entryPoints: [web] }}
    sockets: {{ rule: "Path(`/sockets`)", service: sockets, entryPoints: [web] }}
    web: {{ rule: "PathPrefix(`/`)", service: web, entryPoints: [web] }}
    tls: {{ rule: "PathPrefix(`/`)", service: web, entryPoints: [tls], tls: {{}} }}
  services:
    echo: {{ loadBalancer: {{ servers: [{{ url: "h2c://127.0.0.1:{grpc}" }}] }} }}
    sockets: {{ loadBalancer: {{ servers: [{{ url: "http://127.0.0.1:{sockets}" }}] }} }}
    web: {{ loadBalancer: {{ servers: [{{ url: "http://127.0.0.1:{http}" }}], serversTransport: many }} }}
  serversTransports:
    many: {{ maxIdleConnsPerHost: 512 }}
tls:
  stores:
    default: {{ defaultCertificate: {{ certFile: "{cert}", keyFile: "{key}" }} }}
"""


def nginx(work, behind, paths=("/",)):
    work.mkdir()
    ports = {"http1": free_port(), "http2": free_port()}
    speaks = {"http1": "", "http2": "http2"}
    if "cert" in behind:
        ports["https"] = free_port()
        files = "ssl_certificate {cert}; ssl_certificate_key {key};".format(**behind)
        # As for all others, and as nginx itself does since 1.23.4: Debian's is older.
        files += "ssl_protocols TLSv1.2 TLSv1.3;"
        speaks["https"] = "ssl"
    routes = "".join(f"location {path} {{ proxy_pass http://web; }}\n" for path in paths)
    inner = NGINX_UPSTREAMS.format(**behind)
    for front, port in ports.items():
        first = files + routes if front == "https" else routes
        inner += NGINX_SERVER.format(port=port, speaks=speaks[front], routes=first)
    conf = work / "nginx.conf"
    conf.write_text(backend.NGINX.format(workers=CORES, dir=work, inner=inner))
    ports["websocket"] = ports["http1"]
    return Peer("nginx", ports, ["nginx", "-p", str(work), "-c", str(conf)], work / "log")


def haproxy(work, behind):
    work.mkdir()
    ports = {"http1": free_port(), "http2": free_port(), "https": free_port()}
    conf = work / "haproxy.cfg"
    conf.write_text(HAPROXY.format(workers=CORES, **ports, **behind))
    ports["websocket"] = ports["http1"]
    return Peer("haproxy", ports, ["haproxy", "-db", "-f", str(conf)], work / "log")


def every(port, https):
    """Of a proxy that tells the protocols apart itself."""
    return {"http1": port, "http2": port, "websocket": port, "https": https}


def caddy(work, behind):
    work.mkdir()
    port, https = free_port(), free_port()
    conf = work / "Caddyfile"
    conf.write_text(CADDY.format(port=port, https=https, **behind))
    argv = [wheel("caddy"), "run", "--config", str(conf), "--adapter", "caddyfile"]
    return Peer("caddy", every(port, https), argv, work / "log")


def traefik(work, behind):
    work.mkdir()
    port, https = free_port(), free_port()
    conf = work / "routes.yaml"
    conf.write_text(TRAEFIK.format(**behind))
    argv = [wheel("traefik"), f"--entryPoints.web.address=127.0.0.1:{port}", "--log.level=ERROR"]
    argv += [f"--entryPoints.tls.address=127.0.0.1:{https}"]
    argv += [f"--providers.file.filename={conf}", "--global.checkNewVersion=false"]
    return Peer("traefik", every(port, https), argv, work / "log")


def envoy(work, behind):
    work.mkdir()
    port, https = free_port(), free_port()
    conf = work / "envoy.json"
    conf.write_text(json.dumps(envoy_config(port, https, behind)))
    argv = [wheel("envoy"), "-c", str(conf), "--concurrency", str(CORES), "-l", "error"]
    argv += ["--disable-hot-restart"]
    return Peer("envoy", every(port, https), argv, work / "log")


def envoy_config(port, https, behind):
    def type_url(of):
        return {"@type": f"type.googleapis.com/envoy.extensions.{of}"}

    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    def cluster(name, port, http2):
        speaks = {"http2_protocol_options": {}} if http2 else {"http_protocol_options": {}}
        options = type_url("upstreams.http.v3.HttpProtocolOptions") | {"explicit_http_config": speaks}
        endpoint = {"endpoint": {"address": address(port)}}
        return {
            "name": name,
            "type": "STATIC",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
            },
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
            "circuit_breakers": {"thresholds": [{"max_connections": 4096, "max_requests": 8192, "max_pending_requests": 8192}]},
        }

    def route(match, to):
        return {"match": match, "route": {"cluster": to, "timeout": "0s"}}

    filters = "filters.network.http_connection_manager.v3.HttpConnectionManager"
    manager = type_url(filters) | {
        "stat_prefix": "bench",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [{"name": "router", "typed_config": type_url("filters.http.router.v3.Router")}],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        route({"prefix": "/bench.Echo/"}, "echo"),
                        route({"path": "/sockets"}, "sockets"),
                        route({"prefix": "/"}, "web"),
                    ],
                }
            ]
        },
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    pair = {
        "certificate_chain": {"filename": str(behind["cert"])},
        "private_key": {"filename": str(behind["key"])},
    }
    common = {"tls_certificates": [pair], "alpn_protocols": ["h2", "http/1.1"]}
    context = type_url("transport_sockets.tls.v3.DownstreamTlsContext") | {"common_tls_context": common}
    secure = chain | {"transport_socket": {"name": "tls", "typed_config": context}}
    return {
        "static_resources": {
            "listeners": [
                {"name": "in", "address": address(port), "filter_chains": [chain]},
                {"name": "tls", "address": address(https), "filter_chains": [secure]},
            ],
            "clusters": [
                cluster("web", behind["http"], False),
                cluster("echo", behind["grpc"], True),
                cluster("sockets", behind["sockets"], False),
            ],
        }
    }


ALL = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy, "caddy": caddy, "traefik": traefik}
