# Where the log is, as the configuration says.
data_dir() {
    dir=$(standpipe check 2>/dev/null | sed -n 's/^data_dir = "\(.*\)"$/\1/p')
    # Without the program, or where it finds fault with the file: what the file says by itself.
    [ -n "$dir" ] || dir=$(sed -n 's/^ *data_dir *= *"\([^"]*\)".*/\1/p' \
        /etc/standpipe/standpipe.toml 2>/dev/null | tail -n 1)
    echo "${dir:-/var/lib/standpipe}"
}
