# What the service does under systemd, however it was installed. To be sourced after machine.sh.

# A drop-in for the service, and what it takes to make it hold.
override() {
    mkdir -p "$machine/etc/systemd/system/standpipe.service.d"
    cat >"$machine/etc/systemd/system/standpipe.service.d/test.conf"
    inside systemctl daemon-reload
    inside systemctl restart standpipe.service
}

no_override() {
    rm -r "$machine/etc/systemd/system/standpipe.service.d"
    inside systemctl daemon-reload
    inside systemctl restart standpipe.service
}

# send STREAM COUNT: acknowledged, so that what is counted afterwards is what must be there.
send() { inside_sh "seq $2 | standpipe send $1 --quiet"; }

status_says() { property StatusText standpipe.service | grep -q "$1"; }
restarted_since() { [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ] && is_active; }
is_active() { [ "$(property ActiveState standpipe.service)" = active ]; }

# Each restart of the agent while a client connects, again and again.
restarts_refuse_nobody() {
    local round client
    rm -f "$machine/root/stop"
    inside perl /root/client.pl restarts /root/stop >"$work/client" &
    client=$!
    for round in 1 2 3; do
        "$@"
    done
    touch "$machine/root/stop"
    wait "$client"
    grep -q 'acknowledged=[1-9].* refused=0 ' "$work/client" || { cat "$work/client" && fail "no connection is refused"; }
    shown "no connection was refused meanwhile: $(cat "$work/client")"
}

notifies() {
    expect "the service is active, which it says itself (Type=notify)" is_active
    [ "$(property Type standpipe.service)" = notify ] || fail "Type=notify"
    expect "1,000 events are taken in over the socket" send orders 1000
    eventually "its status line tells the backlog" status_says 'backlog 1,000 events'
}

is_restarted() {
    local pid
    pid=$(main_pid)
    inside_sh "kill -KILL $pid"
    eventually "it is started again after a SIGKILL" restarted_since "$pid"
    expect "with its backlog" [ "$(backlog)" = 1000 ]
    override <<END
[Service]
WatchdogSec=3s
END
    pid=$(main_pid)
    expect "it lives with a watchdog of 3 s" sleep 5
    [ "$(main_pid)" = "$pid" ] || fail "a watchdog that is fed ends nothing"
    inside_sh "kill -STOP $pid"
    eventually "the watchdog ends it when it no longer runs, and it is started again" restarted_since "$pid"
    expect "by the watchdog" logged 'Watchdog timeout'
    no_override
}

# The unit's own settings around a shell: what the agent could not do if it were taken over.
is_confined() {
    override <<'END'
[Service]
ExecStartPre=/bin/bash -c '\
  try() { if "$$@" >/dev/null 2>&1; then echo "allowed: $$*"; else echo "refused: $$*"; fi; }; \
  { try touch /usr/bin/x; try touch /etc/standpipe/x; try touch /run/x; try ls /home/; try ls /root/; \
    try mount -t tmpfs none /mnt; try unshare -U true; try mknod /tmp/x b 8 0; try chmod u+s /var/lib/standpipe/plain; \
    try cat /proc/1/environ; try nice -n -5 true; try bash -c "ulimit -n 99999999"; \
    try touch /var/lib/standpipe/plain; try touch /run/standpipe/plain; id -un; grep -E "^(CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; } \
  >/var/lib/standpipe/confined'
END
    local seen=$machine/var/lib/standpipe/confined
    for refused in 'touch /usr/bin/x' 'touch /etc/standpipe/x' 'touch /run/x' 'ls /root/' 'mount -t tmpfs none /mnt' \
        'unshare -U true' 'mknod /tmp/x b 8 0' 'cat /proc/1/environ'; do
        grep -qx "refused: $refused" "$seen" || { cat "$seen" && fail "refused: $refused"; }
    done
    shown "refused: writing outside, /root, mount, name spaces, devices, others' processes"
    grep -qx 'allowed: touch /var/lib/standpipe/plain' "$seen" || { cat "$seen" && fail "its own directory"; }
    shown "allowed: its own directory"
    [ "$(grep -cE '^standpipe$|^CapEff:.0+$|^CapBnd:.0+$|^NoNewPrivs:.1|^Seccomp:.2' "$seen")" = 5 ] ||
        { cat "$seen" && fail "user, capabilities, no new privileges, system calls"; }
    shown "its own user, no capabilities, no new privileges, filtered system calls"
    no_override
}

# The configuration is read again: all of it, or nothing and every key that takes a restart is named.
reloads() {
    local pid
    pid=$(main_pid)
    printf '[wal]\nbytes_max = "3GiB"\n' >>"$machine/etc/standpipe/standpipe.toml"
    expect "the service reloads" inside systemctl reload standpipe.service
    eventually "and says what it took over" logged 'reloaded the configuration.*wal.bytes_max'
    printf 'owners = 3\n' >>"$machine/etc/standpipe/standpipe.toml"
    if inside systemctl reload standpipe.service; then
        fail "a refused reload fails"
    fi
    shown "a refused reload fails"
    eventually "and names what takes a restart" logged 'not reloaded.*wal.owners'
    [ "$(main_pid)" = "$pid" ] && is_active || fail "a reload is no restart"
    sed -i '/^\[wal\]$/,$d' "$machine/etc/standpipe/standpipe.toml"
}

# All of the output is read: a reader that ends early makes the pipe fail.
logged() { inside journalctl -u standpipe.service --no-pager | grep "$1" >/dev/null; }

# systemd hands the file over; the agent's user cannot read the original.
gets_credentials() {
    printf '[default]\naws_access_key_id = AKIDTEST\naws_secret_access_key = secret\n' >"$machine/etc/standpipe/aws-credentials"
    chmod 600 "$machine/etc/standpipe/aws-credentials"
    override <"$machine/usr/share/doc/standpipe/examples/credentials.conf"
    local file
    file=$(inside_sh "tr '\\0' '\\n' </proc/$(main_pid)/environ" | sed -n 's/^AWS_SHARED_CREDENTIALS_FILE=//p')
    expect "credentials are in a file of its own: $file" inside_sh "runuser -u standpipe -- grep -q AKIDTEST $file"
    expect "and the original is not readable for it" inside_sh "! runuser -u standpipe -- cat /etc/standpipe/aws-credentials"
    no_override
}
