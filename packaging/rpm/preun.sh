@include data-dir.sh
@include backlog.sh
if [ "$1" -eq 0 ]; then
    if [ -d /run/systemd/system ]; then
        systemctl --no-reload disable --now standpipe.socket standpipe.service >/dev/null 2>&1 || :
    else
        systemctl --no-reload disable standpipe.socket standpipe.service >/dev/null 2>&1 || :
    fi
    note_backlog || :
fi
