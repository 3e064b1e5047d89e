@include data-dir.sh
# As RPM systems do: the administrator's presets say whether it is enabled; an upgrade leaves that be.
systemd-sysusers standpipe.conf
systemd-tmpfiles --create standpipe.conf || :
rm -f "$(data_dir)/removed"
if [ "$1" -eq 1 ]; then
    systemctl --no-reload preset standpipe.socket standpipe.service >/dev/null 2>&1 || :
fi
[ ! -d /run/systemd/system ] || systemctl daemon-reload || :
