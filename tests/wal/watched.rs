//! `wal stat --watch`: again and again, until nobody reads any more.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::ground::Ground;

#[test]
fn stat_is_repeated_until_the_pipe_is_closed() {
    let ground = Ground::new();
    ground.log("orders", 1);
    for (args, begin) in [
        (&["stat", "--watch=10ms"][..], "agent stopped; read from the log in "),
        (&["stat", "--watch=10ms", "--json"][..], "{\"running\":false,\"agent\":\"stopped\","),
    ] {
        let mut child = ground.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = lines.map(Result::unwrap).filter(|line| line.starts_with(begin)).take(3);
        assert_eq!(seen.count(), 3, "{args:?}");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
