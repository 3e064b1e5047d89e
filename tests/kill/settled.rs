//! Waiting, from outside, until an agent has delivered everything and released its log.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What turns an agent that hangs into a test that fails. Nothing else depends on time.
const PATIENCE: Duration = Duration::from_secs(180);

/// Between two looks, so that looking does not keep the agent from its work.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Waits until the agent shows at least so many streams, and for each of them that all is committed
/// and that no more than the newest segment is left. Returns what it shows.
pub(crate) fn wait(config: &Path, streams: usize) -> Vec<Value> {
    let begin = Instant::now();
    loop {
        let seen = look(config);
        let streams_seen = seen["streams"].as_array().unwrap();
        let is_settled = |stream: &Value| {
            stream["committed"] == stream["durable"]
                && stream["next"] == stream["durable"]
                && stream["segments"].as_u64().unwrap() <= 1
        };
        if seen["running"] == true
            && streams_seen.len() >= streams
            && streams_seen.iter().all(is_settled)
        {
            return streams_seen.clone();
        }
        assert!(begin.elapsed() < PATIENCE, "it never came to rest: {seen:#}");
        thread::sleep(BETWEEN_LOOKS);
    }
}

fn look(config: &Path) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
    command.env_clear().args(["wal", "stat", "--json", "--config"]).arg(config);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}
