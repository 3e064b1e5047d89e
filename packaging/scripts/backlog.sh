# What the stopped agent has not delivered, noted in the data directory, for whoever removes it later
# and no longer has the program. Says so where it is more than nothing.
note_backlog() {
    dir=$(data_dir)
    [ -d "$dir" ] || return 0
    # What cannot be seen, in whole or in part, is not taken for nothing.
    if stat=$(standpipe wal stat --json 2>/dev/null) && ! echo "$stat" | grep -q '"notes"'; then
        events=$(echo "$stat" | sed -n 's/^ *"backlog_events": *\([0-9]*\).*/\1/p' |
            awk '{ all += $1 } END { print all + 0 }')
    else
        events=unknown
    fi
    if [ -n "$(find "$dir" \( -path '*/quarantine/*' -o -path '*/dead-letter/*' \) -type f 2>/dev/null |
        head -n 1)" ]; then
        aside=yes
    else
        aside=no
    fi
    printf 'undelivered_events=%s\nset_aside=%s\n' "$events" "$aside" >"$dir/removed"
    case $events in
    0) ;;
    unknown) echo "standpipe: what was not delivered could not be counted; it stays in $dir" >&2 ;;
    *) echo "standpipe: $events events were not delivered; they stay in $dir" >&2 ;;
    esac
    [ "$aside" = no ] || echo "standpipe: events or bytes that were set aside stay in $dir" >&2
}
