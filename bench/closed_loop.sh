#!/bin/sh
# bench/closed_loop.sh - vendors that grant another number than the policy says: how many requests they refuse, and how much
# of what they really grant is used
# SPDX-License-Identifier: MIT
#
#	bench/closed_loop.sh [SECONDS]		each vendor for so long, 60 by default; what is judged begins after a third of it
#
# The vendors are nginx (limit_req), HAProxy (a stick table's rate; maxconn), and one of our own (bench/vendor.c). What is shown
# comes from their logs. The workers are those of `ration run`, attached to a rationd, and always have more to do than they may.
set -eu
cd "$(dirname "$0")/.."
B=$PWD/${RATION_BUILD:-build}
SECONDS_EACH=${1:-60}
DIR=$(mktemp -d "${TMPDIR:-/tmp}/ration-loop.XXXXXX")
PIDS=
PATH=$PATH:/usr/sbin

stop() {
	for pid in $PIDS; do
		kill "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	PIDS=
}
trap 'stop; rm -rf "$DIR"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

answers() {
	for _ in $(seq 100); do
		python3 -c "import socket; socket.create_connection(('127.0.0.1', $1), 1)" 2>/dev/null && return
		sleep 0.05
	done
	echo "closed_loop.sh: nothing answers at port $1" >&2
	cat "$DIR"/*.err >&2
	exit 1
}

# The vendors. Each leaves "TIME STATUS WHO" in $DIR/log, one line a request.

own() {
	"$B/bench/vendor" --port "$PORT" --log "$DIR/log" "$@" 2>"$DIR/vendor.err" &
	PIDS="$PIDS $!"
}

nginx_rate() {
	cat >"$DIR/nginx.conf" <<-END
		daemon off; master_process off; pid $DIR/nginx.pid; error_log $DIR/nginx.err crit;
		events { worker_connections 1024; }
		http {
			log_format plain '\$msec \$status us';
			access_log $DIR/log plain;
			client_body_temp_path $DIR/t1; proxy_temp_path $DIR/t2; fastcgi_temp_path $DIR/t3;
			uwsgi_temp_path $DIR/t4; scgi_temp_path $DIR/t5;
			keepalive_requests 1000000;
			limit_req_zone all zone=all:32k rate=60r/s;
			limit_req_status 429;
			server {
				listen 127.0.0.1:$PORT;
				location / { limit_req zone=all burst=59 nodelay; root $DIR; try_files /body =404; }
			}
		}
	END
	echo '{}' >"$DIR/body"
	nginx -p "$DIR" -e "$DIR/nginx.err" -c "$DIR/nginx.conf" 2>"$DIR/nginx.err" &
	PIDS="$PIDS $!"
}

# HAProxy logs to a datagram socket; the service time of what is behind it is that of our own vendor.
haproxy_log() {
	python3 - "$DIR/syslog" "$DIR/log" <<-'END' 2>"$DIR/syslog.err" &
		import socket, sys, time
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
		s.bind(sys.argv[1])
		with open(sys.argv[2], "w", buffering=1) as log:
		    while True:
		        line = s.recv(4096).decode().split("LOG ", 1)[1].strip()
		        log.write(f"{time.time():.3f} {line}\n")
	END
	PIDS="$PIDS $!"
	while [ ! -S "$DIR/syslog" ]; do sleep 0.02; done
}

run_haproxy() {
	haproxy_log
	{
		cat <<-END
			global
				log $DIR/syslog format raw local0
				stats socket $DIR/haproxy.sock
			defaults
				mode http
				timeout client 60s
				timeout connect 5s
				timeout server 60s
				log global
				log-format "LOG %ST us"
		END
		cat
	} >"$DIR/haproxy.cfg"
	haproxy -db -f "$DIR/haproxy.cfg" 2>"$DIR/haproxy.err" >&2 &
	PIDS="$PIDS $!"
}

haproxy_rate() {
	run_haproxy <<-END
		frontend f
			bind 127.0.0.1:$PORT
			stick-table type integer size 1 expire 60s store http_req_rate(10s)
			http-request track-sc0 int(1)
			http-request deny deny_status 429 if { sc_http_req_rate(0) gt 600 }
			http-request return status 200 content-type text/plain string ok
	END
}

haproxy_slots() {
	behind=$(free_port)
	printf 'HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n' >"$DIR/429.http"
	"$B/bench/vendor" --port "$behind" --log /dev/null --kind concurrency --amount 1000 --service 100 &
	PIDS="$PIDS $!"
	run_haproxy <<-END
		frontend f
			bind 127.0.0.1:$PORT
			errorfile 503 $DIR/429.http
			default_backend b
		backend b
			timeout queue 1ms
			errorfile 503 $DIR/429.http
			server s 127.0.0.1:$behind maxconn 8
	END
}

# figures NAME CAPACITY: how many a second it grants, us and others together. Where all comes at once, what is judged goes from
# the end of one such burst to the end of another.
figures() {
	awk -v name="$1" -v capacity="$2" -v seconds="$SECONDS_EACH" '
		NR == 1 { first = $1 }
		$1 - first > seconds { next }
		$1 - first <= seconds / 3 && $2 != 200 { before++ }
		$1 - first <= seconds / 3 && $2 == 200 && $3 == "us" { from = $1; all = 0 }
		$1 - first > seconds / 3 && $2 != 200 { refused++ }
		$2 != 200 { next }
		{ all++ }
		$1 - first > seconds / 3 && $3 == "us" { ours++; until = $1; granted = all }
		END {
			if (!ours || !from) { print name ": nothing came through"; exit 1 }
			printf "%-44s %7d %8d %9.3f %% %8.1f %%\n", name, before, refused,
				100 * refused / (ours + refused), 100 * granted / (capacity * (until - from))
		}' "$DIR/log"
}

# measure NAME VENDOR-KEY LIMIT CAPACITY COMMAND...
measure() {
	name=$1 vendor=$2 limit=$3 capacity=$4
	shift 4
	PORT=$(free_port)
	rm -f "$DIR/log" "$DIR/syslog"
	cat >"$DIR/policy.yaml" <<-END
		version: 1
		classes: [bulk]
		defaults: { margin: 0% }
		vendors:
		  $vendor:
		    limits:
		      - { name: quota, scope: [vendor], $limit }
	END
	"$@"
	"$B/rationd" -p "$DIR/policy.yaml" -s "$DIR/s.sock" 2>"$DIR/rationd.err" &
	PIDS="$PIDS $!"
	answers "$PORT"
	awk -v n=$((SECONDS_EACH * 250)) -v vendor="$vendor" -v port="$PORT" 'BEGIN {
		for (i = 0; i < n; i++)
			printf "{\"id\":\"%d\",\"tenant\":\"t\",\"vendor\":\"%s\",\"class\":\"bulk\",\"url\":\"http://127.0.0.1:%d/\"}\n", i, vendor, port
	}' >"$DIR/in.jsonl"
	rm -f "$DIR"/out.jsonl*
	timeout "$((SECONDS_EACH + 2))" "$B/ration" run --socket "$DIR/s.sock" --workers 2 --in "$DIR/in.jsonl" \
		--out "$DIR/out.jsonl" >"$DIR/run.err" 2>&1 || :
	stop
	figures "$name" "$capacity"
}

RATE='rate: 100/s, burst: 100'
WINDOW='kind: window, amount: 1000, period: 10s'
ROLLING='kind: rolling, amount: 1000, period: 10s'

printf '%-44s %7s %8s %11s %10s\n' "" before refused "" used
measure 'nginx, limit_req 60/s; policy 100/s' nginx "$RATE" 60 nginx_rate
measure 'HAProxy, 600 in 10 s; policy 1000' haproxy "$ROLLING" 60 haproxy_rate
measure 'HAProxy, maxconn 8; policy 12' haproxy 'kind: concurrency, slots: 12' 80 haproxy_slots
measure 'bucket 60/s, silent; policy 100/s' own "$RATE" 60 own --kind bucket --notation silent
measure 'bucket 60/s, shopify; policy 100/s' shopify "$RATE" 60 own --kind bucket --notation shopify
measure 'window 600/10 s, openai; policy 1000' openai "$WINDOW" 60 own --kind window --amount 600 --period 10 --notation openai
measure 'the same, its clock 3 s ahead' openai "$WINDOW" 60 own --kind window --amount 600 --period 10 --notation openai --clock 3
measure 'rolling 600/10 s, hubspot; policy 1000' hubspot "$ROLLING" 60 own --kind rolling --amount 600 --period 10 --notation hubspot
measure 'the same, others spend 5/s' hubspot "$ROLLING" 60 own --kind rolling --amount 600 --period 10 --notation hubspot --foreign 200
measure 'concurrency 8; policy 12' own 'kind: concurrency, slots: 12' 80 own --kind concurrency --amount 8 --service 100
