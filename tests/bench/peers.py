"""Configurations of the peers: each does what our hop does by default, with its access log on."""

from __future__ import annotations

from typing import Final

NGINX: Final = """
worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log error; daemon off; master_process on; {user}
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 75; types {{ text/html html; }} default_type text/html;
  log_format json escape=json '{{"time":"$time_iso8601","request_id":"$request_id","client":"$remote_addr",'
    '"method":"$request_method","host":"$host","path":"$request_uri","proto":"$server_protocol","status":$status,'
    '"bytes":$body_bytes_sent,"ms":$request_time,"upstream":"$upstream_addr","cache":"$upstream_cache_status",'
    '"agent":"$http_user_agent"}}';
  sendfile on; tcp_nodelay on;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4;
  scgi_temp_path {dir}/t5;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 1000000000; }}
  {body}
}}
"""

ORIGIN: Final = """
  server {{ listen 127.0.0.1:{port} backlog=4096; root {dir}/www; etag on;
    location / {{ try_files /page.html =404; add_header Cache-Control "public, max-age=3600"; }}
    location /16k {{ default_type application/octet-stream; try_files /16k =404;
      add_header Cache-Control "public, max-age=3600"; }}
    location /64k {{ default_type application/octet-stream; try_files /64k =404;
      add_header Cache-Control "public, max-age=3600"; }}
    location /1m {{ default_type application/octet-stream; try_files /1m =404;
      add_header Cache-Control "public, max-age=3600"; }} }}
"""

_CACHED: Final = """
    location / {{ proxy_cache c; proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-ID $request_id;
      add_header X-Cache $upstream_cache_status; add_header X-Request-ID $request_id; }}
"""

CACHE: Final = (
    """
  proxy_cache_path {dir}/cache keys_zone=c:16m max_size=1g;
  server {{ listen 127.0.0.1:{port} backlog=4096; access_log {dir}/access.log json;"""
    + _CACHED
    + "}}"
)

CACHE_SMALL: Final = CACHE.replace("max_size=1g", "max_size=16m").replace("keys_zone=c:16m", "keys_zone=c:2m")
"""So that it evicts; its zone has room for more objects than that."""

CACHE_TLS: Final = (
    """
  proxy_cache_path {dir}/cache keys_zone=c:16m max_size=1g;
  server {{ listen 127.0.0.1:{port} backlog=4096 ssl http2; access_log {dir}/access.log json;
    ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
    http2_max_concurrent_streams 128;"""
    + _CACHED
    + "}}"
)

PASS: Final = """
  gzip on; gzip_types text/html; gzip_min_length 1400; gzip_proxied any;
  server {{ listen 127.0.0.1:{port} backlog=4096; access_log {dir}/access.log json;
    location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-ID $request_id;
      add_header X-Request-ID $request_id; }} }}
"""

VARNISH: Final = """vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{origin}"; }}
"""

HAPROXY: Final = """
global
  nbthread 1
  maxconn 4096
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option forwardfor
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout http-keep-alive 75s
frontend in
  bind 127.0.0.1:{port}
  unique-id-format %[uuid]
  unique-id-header X-Request-ID
  default_backend hosts
backend hosts
  balance roundrobin
  http-reuse always
  option httpchk
  http-check send meth GET uri /health ver HTTP/1.1 hdr Host bench.test
  server a 127.0.0.1:{origin} check inter 2s
  server b 127.0.0.1:{origin} check inter 2s
"""

# Name servers: one process or thread that answers, no limit of rates, no log of queries.

NSD: Final = """
server:
  server-count: 1
  ip-address: 127.0.0.1@{port}
  username: ""
  zonesdir: "{dir}"
  database: ""
  pidfile: "{dir}/nsd.pid"
  xfrdfile: "{dir}/xfrd.state"
  zonelistfile: "{dir}/zone.list"
  xfrdir: "{dir}"
  logfile: "{dir}/log"
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: {origin}
  zonefile: {zone}
"""

KNOT: Final = """
server:
  listen: 127.0.0.1@{port}
  rundir: {dir}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: {dir}
log:
  - target: {dir}/log
    any: warning
zone:
  - domain: {origin}
    file: {zone}
    zonefile-sync: -1
    journal-content: none
"""

NAMED: Final = """
options {{
  directory "{dir}";
  pid-file none; session-keyfile none; managed-keys-directory "{dir}";
  listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion no; allow-transfer {{ none; }}; notify no; dnssec-validation no; querylog no;
}};
controls {{ }};
zone "{origin}" {{ type primary; file "{zone}"; }};
"""
