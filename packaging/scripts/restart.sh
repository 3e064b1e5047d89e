# Whether the configuration is one that the new version starts with. The old one goes on where not:
# an agent that runs is better than one that does not.
configuration_is_right() {
    standpipe check >/dev/null && return
    cat >&2 <<END
standpipe: the configuration is not one that this version starts with (see above), so a running
standpipe: agent was left as it is, in its old version. Put /etc/standpipe/standpipe.toml right, then:
standpipe:     standpipe check && systemctl restart standpipe
END
    return 1
}
