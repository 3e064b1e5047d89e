# Deletes the data directory if the note that the removal left says that nothing is in it. In any
# other case, also without a note, it is moved aside.
purge_data() {
    # The configuration may be gone by now; the default is what a package may clear away by itself.
    dir=/var/lib/standpipe
    [ -d "$dir" ] || return 0
    if grep -qx 'undelivered_events=0' "$dir/removed" 2>/dev/null &&
        grep -qx 'set_aside=no' "$dir/removed"; then
        rm -rf "$dir"
        return 0
    fi
    kept="$dir.undelivered-$(date -u +%Y%m%dT%H%M%SZ)"
    mv "$dir" "$kept"
    cat >&2 <<END
standpipe: events that were not delivered were not deleted: they are in
standpipe:     $kept
standpipe: To deliver them, install standpipe again, stop it, move the directory back to $dir
standpipe: and start it. To give them up, delete the directory.
END
}
