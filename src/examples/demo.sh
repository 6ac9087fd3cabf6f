#!/bin/sh
# src/examples/demo.sh - one quota, four workers: together through ration, and each for itself
# SPDX-License-Identifier: MIT
#
# The vendor is nginx on 127.0.0.1, whose limit_req enforces exactly the numbers of policy.yaml beside
# this file: one zone for the whole account, one for each tenant, and 429 for whatever is too much.
# Four worker processes send it the same 3,000 requests twice:
#
#	together	rationd holds the policy's buckets, all workers take from them
#	each for itself	every worker has a limiter of its own with the full quota, as is usual
#
# What is printed was counted in nginx's own log; only the time an acquire takes is from the workers'
# report. The exit status is 0 if the first run met no 429 and used at least 97 % of the quota.
# Everything happens in one temporary directory that is removed at the end, whatever the end is.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=${RATION_BUILD:-build}
policy=${1:-$here/policy.yaml}
workers=4
requests=3000

fail() {
	echo "demo: $*" >&2
	exit 1
}

# --- leave nothing behind ---

dir='' nginx_pid='' rationd_pid='' run_pid=''

# end PID: ask it to end and wait until it has.
end() {
	[ -n "$1" ] || return 0
	kill -TERM "$1" 2>/dev/null || :
	wait "$1" 2>/dev/null || :
}

cleanup() {
	end "$run_pid"
	end "$nginx_pid"
	end "$rationd_pid"
	[ -z "$dir" ] || rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# wait_for FILE PID WHAT: until FILE is there, but not longer than 5 s or than PID lives.
wait_for() {
	tries=0
	until [ -e "$1" ] && { [ -S "$1" ] || [ -s "$1" ]; }; do
		tries=$((tries + 1))
		if [ $tries -gt 100 ] || ! kill -0 "$2" 2>/dev/null; then
			return 1
		fi
		sleep 0.05
	done
}

# --- what is needed ---

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
command -v nginx >/dev/null ||
	fail "nginx is the vendor here, and is not installed: make deps-test (or apt-get install nginx)"
for program in ration rationd; do
	[ -x "$build/$program" ] || fail "there is no $build/$program: run make first"
done
[ -r "$policy" ] || fail "cannot read $policy"
"$build/ration" check "$policy" >/dev/null || fail "$policy cannot be used"

# number LIMIT FIELD: a number of a limit of the policy, as nginx wants it.
number() {
	awk -v limit="$1" -v field="$2:" '
		$1 == "-" && $2 == "name:" { ours = $3 == limit }
		ours && $1 == field { sub("/s$", "", $2); print $2 }' "$policy"
}

# Sets $1_rate and $1_burst.
read_limit() {
	for field in rate burst; do
		value=$(number "$1-rate" $field)
		case $value in
		'' | *[!0-9]*) fail "$policy: $1-rate needs '$field: N$([ $field = burst ] || echo /s)'" \
			"on a line of its own, because nginx must be told the same" ;;
		esac
		eval "$1_$field=$value"
	done
}
account_rate='' account_burst='' tenant_rate='' tenant_burst=''
read_limit account
read_limit tenant

dir=$(mktemp -d "${TMPDIR:-/tmp}/ration-demo.XXXXXX")
mkdir "$dir/www"
echo '{"contact": 17}' >"$dir/www/answer.json"

# --- the vendor ---

free_port() {
	cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v seed="$1" '
		{ split($2, at, ":"); used[at[2]] = 1 }
		END {
			srand(seed)
			do port = 20000 + int(rand() * 12000); while (sprintf("%04X", port) in used)
			print port
		}'
}

# One process that stays in the foreground; nothing outside our directory is read or written.
nginx_conf() {
	cat <<EOF
daemon off;
master_process off;
pid $dir/nginx.pid;
error_log $dir/error.log;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path $dir/body;
	proxy_temp_path $dir/proxy;
	fastcgi_temp_path $dir/fastcgi;
	uwsgi_temp_path $dir/uwsgi;
	scgi_temp_path $dir/scgi;
	log_format counted '\$msec \$status';
	keepalive_requests 1000000;
	limit_req_status 429;
	limit_req_log_level info;
	limit_req_zone \$server_name zone=account:1m rate=${account_rate}r/s;
	limit_req_zone \$tenant zone=tenant:1m rate=${tenant_rate}r/s;
	server {
		listen 127.0.0.1:$port backlog=4096;
		server_name crm;
		root $dir/www;
		default_type application/json;
		location ~ ^/(?<tenant>[a-z]+)/contacts/ {
			limit_req zone=account burst=$account_burst nodelay;
			limit_req zone=tenant burst=$tenant_burst nodelay;
			access_log $dir/access.log counted;
			try_files /answer.json =500;
		}
		location / { return 404; }
	}
}
EOF
}

# Fresh zones and an empty log, so that both runs begin alike. The port stays the same.
start_nginx() {
	rm -f "$dir/access.log" "$dir/nginx.pid"
	nginx_conf >"$dir/nginx.conf"
	nginx -p "$dir" -e "$dir/error.log" -c "$dir/nginx.conf" &
	nginx_pid=$!
	wait_for "$dir/nginx.pid" $nginx_pid
}

stop_nginx() {
	end "$nginx_pid"
	nginx_pid=''
}

# Another program may take the port between our look and nginx's.
find_port() {
	for try in 1 2 3 4 5; do
		port=$(free_port $(($$ + try)))
		start_nginx 2>"$dir/nginx.err" && return
		stop_nginx
	done
	cat "$dir/nginx.err" "$dir/error.log" >&2 2>/dev/null || :
	fail "nginx does not start"
}

# --- the work ---

# Tenants and classes take turns, as they would in a queue that all of them fill.
request_lines() {
	awk -v n=$requests -v url="http://127.0.0.1:$port" 'BEGIN {
		split("acme globex initech", tenant)
		split("interactive integration bulk", class)
		for (i = 0; i < n; i++) {
			t = tenant[i % 3 + 1]
			printf "{\"id\": %d, \"tenant\": \"%s\", \"vendor\": \"crm\", \"class\": \"%s\", " \
			       "\"url\": \"%s/%s/contacts/%d\"}\n", i, t, class[int(i / 3) % 3 + 1], url, t, i
		}
	}'
}

# run NAME OPTIONS...: the fleet. Its status says whether requests failed; here the log decides.
run() {
	name=$1
	shift
	status=0
	"$build/ration" run "$@" --workers $workers --in "$dir/requests" \
		--out "$dir/$name.results" --report "$dir/$name.report" &
	run_pid=$!
	wait $run_pid || status=$?
	run_pid=''
	[ $status -gt 1 ] || return 0
	cat "$dir/rationd.log" >&2
	fail "ration run ended with status $status"
}

# --- the table ---

# percentile NAME P: of acquire_ns in a report.
percentile() {
	awk -v want="\"$2\":" '
		/"acquire_ns": *{/ { ours = 1 }
		ours && $1 == want { sub(",", "", $2); print $2; exit }' "$dir/$1.report"
}

# row NAME TEXT: count in nginx's log; sets too_many (429s) and used (% of the quota).
row() {
	# shellcheck disable=SC2046 # words wanted
	set -- "$1" "$2" $(awk -v rate="$account_rate" -v burst="$account_burst" '
		NR == 1 || $1 < first { first = $1 }
		$1 > last { last = $1 }
		$2 ~ /^2/ { good++ }
		$2 == 429 { limited++ }
		END {
			elapsed = last - first
			printf "%d %d %d %.1f %.1f", NR, good, limited, elapsed,
				100 * good / (rate * elapsed + burst)
		}' "$dir/$1.log")
	printf '%-26s %8d  %6d  %6d %9s s %11s %% %9s ns %8s ns\n' "$2" "$3" "$4" "$5" "$6" "$7" \
		"$(percentile "$1" p50)" "$(percentile "$1" p99)"
	total=$3 too_many=$5 used=$7
}

# --- both runs ---

port=''
find_port
request_lines >"$dir/requests"

echo "$requests requests, 3 tenants, 3 classes, $workers workers. The vendor allows the account" \
	"$account_rate/s (burst $account_burst),"
echo "each tenant $tenant_rate/s (burst $tenant_burst), and answers 429 to the rest."
echo

"$build/rationd" --policy "$policy" --socket "$dir/ration.sock" 2>"$dir/rationd.log" &
rationd_pid=$!
wait_for "$dir/ration.sock" $rationd_pid || {
	cat "$dir/rationd.log" >&2
	fail "rationd does not start"
}

echo "1. together: rationd holds the quota, the workers take from it"
run together --socket "$dir/ration.sock"
stop_nginx
mv "$dir/access.log" "$dir/together.log"
end "$rationd_pid"
rationd_pid=''

echo "2. each for itself: every worker has its own limiter with the full quota"
start_nginx || fail "nginx does not start again: $(cat "$dir/error.log")"
run alone --private --policy "$policy"
stop_nginx
mv "$dir/access.log" "$dir/alone.log"

echo
printf '%-26s %8s  %6s  %6s %11s %13s %12s %11s\n' "counted in nginx's log" requests 2xx 429 time \
	"quota used" "acquire p50" p99
total='' too_many='' used=''
row alone "each worker for itself"
row together "together, through ration"
echo

if [ "$total" -ne $requests ] || [ "$too_many" -ne 0 ] ||
	! awk -v used="$used" 'BEGIN { exit !(used >= 97) }'; then
	fail "through ration all $requests requests must reach the vendor, with no 429 and at least" \
		"97 % of the quota used"
fi

cat <<EOF
"quota used" is 2xx / (rate x time + burst) of the account. An acquire's time is that of a worker that
asks every few milliseconds, with cold caches; make bench shows one that is busy. Next:
  $build/rationd --policy $policy --socket /tmp/ration.sock &
  export RATION_SOCKET=/tmp/ration.sock
  $build/ration acquire acme crm bulk            take one permit, from a script
  $build/ration explain acme crm bulk            which limits a request of this key meets
  $build/ration status                           what is left in each bucket
Change the numbers in $policy and run this again, or write your own:
  $build/ration init my-policy.yaml
EOF
