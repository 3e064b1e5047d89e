//! Where credentials come from, and what becomes of delivery while they do not: the real program, the
//! AWS default chain, and a metadata service on loopback with every bad manner.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test: a surprise is its failure"
)]

#[path = "support/fake_firehose.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod fake_firehose;
#[path = "support/metadata.rs"]
mod metadata;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "agent/process.rs"]
mod process;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use fake_firehose::{FakeFirehose, Reply};
use metadata::{Manner, Metadata};
use process::Process;
use tempfile::TempDir;

/// A test that waits for something that never comes says so instead of hanging.
const STUCK: Duration = Duration::from_mins(2);

/// An agent that has no credentials but those of the metadata service, or of a file.
struct Agent {
    dir: TempDir,
    _process: Process,
}

impl Agent {
    fn start(endpoint: &str, metadata: &str, region: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display();
        let text = format!(
            "data_dir = \"{root}/data\"\n\
             [upload]\nbackoff_max = \"1s\"\n\
             [[source]]\nkind = \"unix\"\npath = \"{root}/in.sock\"\n\
             [sink.aws]\nkind = \"firehose\"\nendpoint_url = \"{endpoint}\"\n{region}\n\
             [stream.orders]\nsink = \"aws\"\naggregate = \"none\"\nlinger = \"0s\"\n",
        );
        let config = dir.path().join("standpipe.toml");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
        command.args(["run", "--log", "warn", "--config"]).arg(&config);
        command.env_clear().env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata);
        for (variable, file) in
            [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")]
        {
            command.env(variable, dir.path().join(file));
        }
        let mut process = Process::spawn(command);
        process.addresses(1).expect("it listens");
        Self { dir, _process: process }
    }

    fn send(&self, event: &str) {
        let mut socket = UnixStream::connect(self.dir.path().join("in.sock")).unwrap();
        socket.write_all(format!("STANDPIPE/2\norders {event}\n").as_bytes()).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        // It has read everything when it ends the connection.
        socket.read_to_end(&mut Vec::new()).unwrap();
    }

    /// What the admin socket says of the stream; nothing where there is none yet.
    fn status(&self) -> serde_json::Value {
        let mut socket = UnixStream::connect(self.dir.path().join("data/admin.sock")).unwrap();
        socket.write_all(b"GET /api/status HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let status: serde_json::Value = serde_json::from_str(body).unwrap();
        let streams = status["streams"].as_array().unwrap();
        streams.iter().find(|stream| stream["stream"] == "orders").cloned().unwrap_or_default()
    }

    /// Waits until the state of the delivery is this one, and returns what is said then.
    async fn state(&self, wanted: &str) -> serde_json::Value {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        let mut last = serde_json::Value::Null;
        let reached = async {
            while last["upload"]["state"] != wanted {
                every.tick().await;
                last = self.status();
            }
        };
        let reached = tokio::time::timeout(STUCK, reached).await;
        assert!(reached.is_ok(), "never {wanted}: {last}");
        last
    }
}

/// The key that a request was signed with.
fn keys(fake: &FakeFirehose) -> BTreeSet<String> {
    let of = |request: &fake_firehose::Request| {
        let header = request.headers["authorization"].to_str().unwrap();
        header.split("Credential=").nth(1).unwrap().split('/').next().unwrap().to_owned()
    };
    fake.requests().iter().map(of).collect()
}

const REGION: &str = "region = \"eu-west-1\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_service_that_is_not_well_denies_access_and_delivery_goes_on_when_it_is() {
    for (manner, region) in [
        (Manner::Closes, REGION),
        (Manner::Hangs, REGION),
        (Manner::Answers(403), REGION),
        (Manner::Answers(500), REGION),
        // The region has to come from there as well.
        (Manner::Hangs, ""),
    ] {
        println!("{manner:?}, {region:?}");
        let metadata = Metadata::start(manner, Duration::from_hours(1)).await;
        let fake = FakeFirehose::start([]).await;
        let agent = Agent::start(&fake.url, &metadata.url, region);
        agent.send("one");
        let status = agent.state("denied").await;
        println!("  {}", status["upload"]["reason"]);
        let reason = status["upload"]["reason"].as_str().unwrap();
        assert!(reason.starts_with("no ") && !reason.contains('\n'), "{reason}");
        assert_eq!(status["possible_duplicates"], 0, "{status}");
        assert_eq!(fake.requests().len(), 0);
        metadata.behave(Manner::Well);
        tokio::time::timeout(STUCK, fake.arrived(1)).await.expect("it goes on");
        assert_eq!(agent.state("ok").await["possible_duplicates"], 0);
        assert_eq!(fake.data(), [b"one\n"]);
    }
}

/// Also one that never says anything, not even that it will not.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_gives_credentials_and_hangs_is_no_service_that_hangs() {
    let fake = FakeFirehose::start([]).await;
    let agent = Agent::start(&fake.url, "http://127.0.0.1:9", REGION);
    let config = agent.dir.path().join("config");
    std::fs::write(&config, "[default]\ncredential_process = /bin/sleep 1000\n").unwrap();
    agent.send("one");
    let status = agent.state("denied").await;
    println!("{}", status["upload"]["reason"]);
    assert_eq!(status["possible_duplicates"], 0, "{status}");
    // Somebody mends it; nobody restarts the agent.
    let credentials = "[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = secret\n";
    std::fs::remove_file(&config).unwrap();
    std::fs::write(agent.dir.path().join("credentials"), credentials).unwrap();
    tokio::time::timeout(STUCK, fake.arrived(1)).await.expect("it goes on");
    assert_eq!(keys(&fake), BTreeSet::from(["AKIDFILE".to_owned()]));
    agent.state("ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_renewed_before_they_expire_and_nothing_fails_for_it() {
    let metadata = Metadata::start(Manner::Well, Duration::from_secs(12)).await;
    let fake = FakeFirehose::start([]).await;
    let agent = Agent::start(&fake.url, &metadata.url, REGION);
    let renewed = async {
        while keys(&fake).len() < 2 {
            agent.send("one");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(STUCK, renewed).await.expect("another key");
    let status = agent.state("ok").await;
    assert_eq!(status["retried"].as_object().map(serde_json::Map::len), Some(0), "{status}");
}

/// Somebody writes other credentials to the file that the agent has read.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_were_replaced_are_found_without_a_restart() {
    let fake = FakeFirehose::start_then(
        [],
        Reply::Error(400, "UnrecognizedClientException"),
        Duration::ZERO,
    )
    .await;
    let agent = Agent::start(&fake.url, "http://127.0.0.1:9", REGION);
    let write = |key: &str| {
        let text =
            format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n");
        std::fs::write(agent.dir.path().join("credentials"), text).unwrap();
    };
    write("AKIDOLD");
    agent.send("one");
    agent.state("denied").await;
    write("AKIDNEW");
    let found = async {
        while !keys(&fake).contains("AKIDNEW") {
            fake.arrived(fake.requests().len() + 1).await;
        }
    };
    tokio::time::timeout(STUCK, found).await.expect("the other key");
    fake.answer(Reply::Accept);
    let status = agent.state("ok").await;
    assert_eq!(status["possible_duplicates"], 0, "{status}");
}
