# Refuses to install over a log that is newer than this version can read: the agent would start, and
# set the events aside unread. A segment names its version in the bytes 8 and 9 of its header.
refuse_newer_log() {
    for segment in "$(data_dir)"/streams/*/*.seg; do
        [ -f "$segment" ] || continue
        [ "$(head -c 8 "$segment")" = SPIPEWAL ] || continue
        version=$(od -An -tu2 -j8 -N2 --endian=little "$segment" | tr -d ' ')
        [ "$version" -gt @LOG_VERSION@ ] || continue
        cat >&2 <<END
standpipe: refused: $segment
standpipe: has version $version of the log's format, and this package reads up to version @LOG_VERSION@.
standpipe: Nothing was changed. Let the version that is installed deliver its backlog first
standpipe: ("standpipe wal stat" shows it), stop it, and move the data directory aside.
END
        exit 1
    done
}
