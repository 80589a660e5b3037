#!/bin/sh
# The first process of the virtual machine of run.sh: lays out control groups in the ways in which
# users have them, and runs the tests in each.
export PATH=/usr/bin HOME=/home TMPDIR=/tmp LANG=C.UTF-8
G=/sys/fs/cgroup
mount -t proc proc /proc
mount -t sysfs sys /sys
[ -e /dev/null ] || mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t cgroup2 cgroup2 $G
mkdir -p /var/tmp
busybox ip link set lo up
only=$(sed -n 's/.* only=\([^ ]*\).*/,\1,/p' /proc/cmdline)
failed=

# as <root|ada> <group> <command>: from a shell that stays in the group.
as() {
    group=$2
    user=
    [ "$1" = root ] || user='setpriv --reuid=1000 --regid=1000 --clear-groups'
    shift 2
    GROUP=$group sh -c 'echo $$ > "$GROUP/cgroup.procs"; unset GROUP; "$@"; exit $?' - $user "$@"
}

groups() { (cd $G && find_groups . | sort | tr '\n' ' '); }
find_groups() { for d in "$1"/*/; do [ -d "$d" ] || continue; echo "${d%/}"; find_groups "${d%/}"; done; }

# A variant that failed must not make the next one fail.
sweep() {
    echo 1 >$G/cgroup.procs
    for dir in $(find_groups $G | sort -r); do
        echo 1 >"$dir/cgroup.kill"
        for _ in 1 2 3 4 5; do rmdir "$dir" 2>/dev/null && break; sleep 0.2; done
    done
}

# variant <name> <what> <command>
variant() {
    name=$1 what=$2
    shift 2
    case $only in '' | ,, | *,$name,*) ;; *) return ;; esac
    echo "── $name: $what"
    before=$(groups)
    start=$(cut -d. -f1 /proc/uptime)
    if "$@"; then verdict=green; else verdict=RED; failed="$failed $name"; fi
    after=$(groups)
    [ "$before" = "$after" ] || { echo "groups left: $after (before: $before)"; verdict=RED; failed="$failed $name"; sweep; }
    echo "── $name: $verdict, $(($(cut -d. -f1 /proc/uptime) - start)) s"
}

group() { # group <path> [owner]
    mkdir -p "$G/$1"
    [ -z "${2:-}" ] || chown -R "$2" "$G/$1"
}
down() { for dir in "$@"; do echo '+memory +pids' > "$G/$dir/cgroup.subtree_control"; done; }
remove() { (cd "$G" && for dir in "$@"; do rmdir "$dir" || echo "cannot remove $dir"; done); }

subset='memory:: life::going_down life::who_ignores chaos::a_killed'

variant root "root, no systemd: all in the root group, no controller handed down" /app.sh v2

every() { /app.sh v2 && /it.sh; }
down .
variant every "the same with controllers handed down, and every test" every

session() {
    group session/terminal
    down session
    as root $G/session/terminal /app.sh v2 && as root $G/session/terminal /it.sh $subset
    status=$?
    remove session/terminal session
    return $status
}
variant session "root in a terminal's group, beside which groups may be made" session

stranger() {
    group stranger
    as ada $G/stranger /app.sh poll && as ada $G/stranger /it.sh $subset
    status=$?
    remove stranger
    return $status
}
variant stranger "a plain user, nothing delegated" stranger

# What systemd gives for user@1000.service: the group itself, and these files of it.
delegate() {
    group user/service/app/terminal
    down user
    for file in . cgroup.procs cgroup.subtree_control cgroup.threads; do
        chown 1000:1000 "$G/user/service/$file"
    done
    chown -R 1000:1000 $G/user/service/app
    down user/service user/service/app
}

delegated() {
    delegate
    as ada $G/user/service/app/terminal /app.sh v2 &&
        as ada $G/user/service/app/terminal /it.sh $subset isolation:: chaos:: life::
    status=$?
    remove user/service/app/terminal user/service/app user/service user
    return $status
}
variant delegated "a plain user's terminal in a delegated subtree" delegated

scope() {
    delegate
    group user/service/app/scope 1000:1000
    group user/service/app/scope-next 1000:1000
    as ada $G/user/service/app/terminal /app.sh v2 $G/user/service/app/scope
    status=$?
    # Archipel's own leaf goes with the scope.
    for scope in user/service/app/scope user/service/app/scope-next; do
        remove $scope/supervisor $scope
    done
    remove user/service/app/terminal user/service/app user/service user
    return $status
}
variant scope "a plain user's archipel alone in a group: systemd-run --user --scope" scope

inner='umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'
container() {
    group container
    as root $G/container unshare --cgroup --mount sh -c "$inner" - /app.sh poll
    status=$?
    remove container
    return $status
}
variant container "a cgroup namespace with others in its root: no group can get control" container

# The shell stays in a group that has groups below it.
inside() {
    group inside/below
    [ -z "$2" ] || echo "+$2" >$G/inside/cgroup.subtree_control
    as "$1" $G/inside /app.sh "$3"
    status=$?
    remove inside/below inside
    return $status
}
variant inside "root in a group with others and with groups below it" inside root '' v2

# A plain user's own group, with nothing of the user's above it.
lone() {
    group lone 1000:1000
    [ -z "$1" ] || echo "+$1" >$G/lone/cgroup.subtree_control
    as ada $G/lone /app.sh poll
    status=$?
    remove lone
    return $status
}
variant lone "a plain user in a group of their own, with others in it" lone ''
variant threaded "the same, where pids is handed down" lone pids

if [ -z "$failed" ]; then echo "cgroup-v2: all variants green"; else echo "cgroup-v2: RED:$failed"; fi
busybox poweroff -f
