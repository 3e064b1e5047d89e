# What the sockets are good for that systemd holds open, and what a wrong configuration does to them.
# To be sourced after service.sh.

configuration=/etc/standpipe/standpipe.toml

# Its own configuration instead of the package's, from standard input.
configure() {
    cp -a "$machine$configuration" "$machine$configuration.kept"
    cat >"$machine$configuration"
}

configure_as_before() { mv "$machine$configuration.kept" "$machine$configuration"; }

listening() { property ActiveState standpipe.socket | grep -qx active; }

# A wrong configuration ends each start at once, and each client that waits makes systemd try again.
# Too many tries, and systemd gives the sockets up: then clients are refused.
clients_wait_for_a_mended_configuration() {
    local client starts
    printf '[sink.firehose]\nkind = "firehos"\n' | configure
    inside systemctl restart standpipe.service 2>/dev/null || true
    eventually "a wrong configuration is named in the journal, with file and line" \
        logged "$configuration:2"
    inside_sh 'seq 10 | standpipe send orders --quiet' &
    client=$!
    starts=$(property NRestarts standpipe.service)
    tried_again() { [ "$(property NRestarts standpipe.service)" -ge $((starts + 3)) ]; }
    eventually "the agent is started again and again while a client waits" tried_again
    expect "and the sockets stay open" listening
    kill -0 "$client" || fail "the client waits"
    configure_as_before
    wait "$client" || fail "the client is served when the configuration is mended"
    shown "the client is served when the configuration is mended, with nothing else done"
    eventually "the service is active" is_active
}

# Sockets that only some configurations have: an operator names them in a drop-in.
takes_over_every_kind_of_socket() {
    mkdir -p "$machine/etc/systemd/system/standpipe.socket.d"
    printf '[Socket]\nListenStream=127.0.0.1:15556\nListenStream=/run/standpipe/admin.sock\n' \
        >"$machine/etc/systemd/system/standpipe.socket.d/test.conf"
    { cat "$machine/usr/share/doc/standpipe/examples/firehose-api.toml" &&
        printf '[admin]\nunix = "/run/standpipe/admin.sock"\n'; } | configure
    inside systemctl daemon-reload
    inside systemctl stop standpipe.service standpipe.socket
    inside systemctl start standpipe.socket
    [ "$(main_pid)" = 0 ] || fail "the service is not running"
    expect "a question to the admin socket starts the agent and is answered" \
        inside standpipe status --json
    eventually "and the service is active" is_active
    inside systemctl stop standpipe.service
    expect "a call of the Firehose API starts it, and is answered when its record is durable" \
        inside perl /root/client.pl api orders
    expect "the record waits for delivery" [ "$(backlog)" -ge 1 ]
    rm -r "$machine/etc/systemd/system/standpipe.socket.d"
    configure_as_before
    inside systemctl daemon-reload
    inside systemctl stop standpipe.service standpipe.socket
    inside systemctl start standpipe.socket standpipe.service
}

# What stands in the journal can be asked for by its priority.
speaks_to_the_journal() {
    at_priority() { inside journalctl -u standpipe.service --no-pager -o cat -p "$1" | grep "$2" >/dev/null; }
    expect "the life cycle is at the priority info" at_priority info..info 'listening on'
    expect "what the agent gets over by itself is a warning" at_priority warning..warning 'in trouble'
    expect "what somebody has to see to is an error" at_priority err..err 'not reloaded'
}
