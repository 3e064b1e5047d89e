@include restart.sh
[ ! -d /run/systemd/system ] || systemctl daemon-reload || :
if [ "$1" -ge 1 ] && [ -d /run/systemd/system ] && configuration_is_right; then
    # The sockets stay open: clients wait for the new agent and are not refused.
    systemctl try-restart standpipe.service || :
fi
