#!/bin/sh
# app.sh <v2|poll> [group]: a small application whose one service exceeds its memory limit, under the real
# `archipel`: the reason is told, a killed `archipel` costs no service its process, and after
# `down` there is no process and no group of its own. With a group, `archipel` is
# alone in it, and the next one in that with `-next` behind its name, as each has a scope of its own.
wanted=$1
alone_in=${2:-}
up() {
    if [ -z "$alone_in" ]; then
        archipel up --detach --no-wait --dashboard-port 0 >up.log 2>&1
    else
        GROUP=$alone_in sh -c 'echo $$ > "$GROUP/cgroup.procs" && exec "$@"' - \
            archipel up --dashboard-port 0 >up.log 2>&1 &
    fi
}
fail() {
    echo "app.sh: $*"
    archipel ps -w
    [ ! -f up.log ] || tail -5 up.log
    tail -5 .archipel/archipel.log 2>/dev/null
    archipel down
    exit 1
}
now() { cut -d. -f1 /proc/uptime; }
# wait_for <what> <command>: until it succeeds, at most 60 s.
wait_for() {
    what=$1
    shift
    deadline=$(($(now) + 60))
    while [ "$(now)" -lt $deadline ]; do
        "$@" && return
        sleep 0.2
    done
    fail "not seen within a minute: $what"
}
own() { for exe in /proc/[0-9]*/exe; do
    [ "$(readlink "$exe")" != "$1" ] || echo "$exe" | cut -d/ -f3
done; }
groups() { find_groups /sys/fs/cgroup | grep /archipel; }
find_groups() { for d in "$1"/*/; do [ -d "$d" ] || continue; echo "${d%/}"; find_groups "${d%/}"; done; }
instance() { archipel ps -w 2>/dev/null | awk -v id="$1" '$1 == id'; }
quiet_pid() { instance quiet-0 | awk '{ print $3 }'; }
told() { instance greedy-0 | grep -q 'killed: memory limit 32M reached'; }
ready() { instance quiet-0 | grep -q ' ready '; }

dir=$(busybox mktemp -d)
cd "$dir" || exit 1
cat > archipel.toml <<'END'
version = 1
[app]
name = "limits"
[services.greedy]
run = "/examples/fixture leak 200"
memory = "32M"
[services.quiet]
run = "/examples/fixture serve"
memory = "32M"
health = "/healthz"
END
archipel doctor | grep -E 'memory|processes|isolation'
up || fail "up: $(cat up.log)"
wait_for "quiet is ready" ready
wait_for "the true reason" told
instance greedy-0
instance quiet-0
tier=$(instance quiet-0 | awk '{ print $6 }')
[ "$tier" = "$wanted" ] || fail "the tier is $tier, not $wanted"
groups
before=$(quiet_pid)
daemon=$(own /usr/bin/archipel)
kill -9 $daemon || fail "no archipel to kill"
[ -d "/proc/$before" ] || fail "quiet has gone with archipel"
[ -z "$alone_in" ] || alone_in=$alone_in-next
up || fail "the second up: $(cat up.log)"
wait_for "quiet is ready again" ready
[ "$(quiet_pid)" = "$before" ] || fail "quiet was $before and is $(quiet_pid)"
archipel down || fail "down"
left=$(own /examples/fixture; own /usr/bin/archipel)
[ -z "$left" ] || fail "processes are left: $left"
left=$(groups)
[ -z "$left" ] || fail "groups are left: $left"
rm -rf "$dir"
echo "app.sh: ok ($tier)"
