# A machine to install packages on: a copy of the bare root, booted with systemd in a namespace of its
# own, without a network but its loopback. To be sourced, from the repository's root.
work=$PWD/target/package-test
machine=
leader=

# What is being shown; each line of the output is one fact that was seen.
shown() { printf '   ok  %s\n' "$1"; }

fail() {
    printf ' FAIL  %s\n' "$1" >&2
    inside journalctl --no-pager -n 40 -u 'standpipe*' >&2 || true
    exit 1
}

# Runs the rest of the arguments and expects success.
expect() {
    local fact=$1
    shift
    "$@" >"$work/output" 2>&1 || { cat "$work/output" >&2 && fail "$fact"; }
    shown "$fact"
}

# What the last command said.
said() {
    grep -q "$2" "$work/output" || { cat "$work/output" >&2 && fail "$1"; }
    shown "$1: $(grep -m 1 "$2" "$work/output")"
}

# Runs the rest of the arguments until they succeed. There is no other way to see what another
# process does in its own time.
eventually() {
    local fact=$1 tries=0
    shift
    until "$@" >"$work/output" 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { cat "$work/output" >&2 && fail "$fact"; }
        sleep 0.1
    done
    shown "$fact"
}

# Runs a command inside the booted machine.
inside() { nsenter -t "$leader" -m -p -u -i -n -C -r -w -- "$@"; }

# The same for a line of shell.
inside_sh() { inside bash -c "$1"; }

boot() {
    machine=$work/$1
    cut_power
    rm -rf "$machine"
    cp -a "$work/base" "$machine"
    start_machine
}

start_machine() {
    systemd-nspawn -q -D "$machine" --boot --private-network --register=no --keep-unit \
        --machine="standpipe-$(basename "$machine")" --console=pipe </dev/null >"$machine.console" 2>&1 &
    nspawn=$!
    until leader=$(pgrep -P "$nspawn" -n -x systemd) && [ -n "$leader" ]; do
        kill -0 "$nspawn" || { cat "$machine.console" >&2 && exit 1; }
        sleep 0.1
    done
    eventually "a machine has booted" inside systemctl is-system-running --wait
}

# Ends it in order, as a reboot does.
shut_down() {
    inside systemctl poweroff || true
    wait "$nspawn" || true
    nspawn= leader=
}

cut_power() {
    [ -n "${nspawn:-}" ] || return 0
    # What has ended by itself needs no signal.
    kill -KILL ${leader:+"$leader"} "$nspawn" 2>/dev/null || true
    wait "$nspawn" 2>/dev/null || true
    nspawn=
}
trap cut_power EXIT

main_pid() { inside systemctl show -P MainPID standpipe.service; }
property() { inside systemctl show -P "$1" "$2"; }
# The events of all streams that wait, running or stopped.
backlog() {
    inside_sh "standpipe wal stat --json" |
        sed -n 's/^ *"backlog_events": *\([0-9]*\).*/\1/p' | awk '{ all += $1 } END { print all + 0 }'
}
