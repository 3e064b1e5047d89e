//! `standpipe doctor` against a service that is well, and that is not.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::auto::{processing, to_s3};
use crate::fake_firehose::{FakeFirehose, Reply};

/// A host that delivers `orders` to the service.
struct Host {
    dir: TempDir,
}

impl Host {
    fn new(url: &str, stream: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let text = format!(
            "data_dir = \"{root}/data\"\n\
             [[source]]\nkind = \"unix\"\npath = \"{root}/in.sock\"\n\
             [sink.firehose]\nkind = \"firehose\"\nendpoint_url = \"{url}\"\n\
             region = \"us-east-1\"\ncredentials = \"local\"\n\
             [wal]\nbytes_max = \"128MiB\"\nfree_bytes_min = 0\n\
             [stream.orders]\n{stream}\n",
        );
        std::fs::write(dir.path().join("standpipe.toml"), text).unwrap();
        Self { dir }
    }

    /// Runs the command. Returns whether it was content, and its findings.
    async fn doctor(&self, more: &[&str]) -> (bool, Vec<Value>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
        command.args(["doctor", "--json", "--config"]).arg(self.dir.path().join("standpipe.toml"));
        command.args(more).env_clear().stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (output.status.success(), report["findings"].as_array().unwrap().clone())
    }
}

/// The finding about this.
fn about<'a>(findings: &'a [Value], subject: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["subject"] == subject);
    found.unwrap_or_else(|| panic!("nothing about {subject} in {findings:#?}"))
}

#[track_caller]
fn assert_says(findings: &[Value], subject: &str, level: &str, says: &str) {
    let finding = about(findings, subject);
    assert_eq!(finding["level"], level, "{finding}");
    let text = finding.to_string();
    assert!(text.contains(says), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_well_has_no_failures_and_nothing_is_sent() {
    let fake = FakeFirehose::start([]).await;
    fake.describe(Ok(("DirectPut", to_s3(&json!({})))));
    let host = Host::new(&fake.url, "");
    let (content, findings) = host.doctor(&[]).await;
    assert!(content, "{findings:#?}");
    assert_says(&findings, "endpoint", "ok", "it answers");
    assert_says(&findings, "clock", "ok", "agrees");
    assert_says(&findings, "stream orders", "ok", "lines");
    assert_says(&findings, "agent", "warning", "does not run");
    assert!(fake.requests().is_empty(), "looking sends nothing");
    assert_eq!(std::fs::read_dir(host.dir.path().join("data")).unwrap().count(), 0);

    let (content, findings) = host.doctor(&["--send-test-event", "orders"]).await;
    assert!(content, "{findings:#?}");
    assert_says(&findings, "test event orders", "ok", "it was taken");
    assert!(String::from_utf8_lossy(&fake.concatenated()).contains("standpipe doctor"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_at_the_service_is_a_failure_with_what_to_do() {
    // Nobody has made the delivery stream.
    let fake = FakeFirehose::start([]).await;
    let host = Host::new(&fake.url, "delivery_stream = \"orders-prod\"");
    let (content, findings) = host.doctor(&[]).await;
    assert!(!content);
    assert_says(&findings, "stream orders", "failure", "create the delivery stream orders-prod");

    // Asking is not allowed, which delivery can live with.
    fake.describe(Err("AccessDeniedException"));
    let (content, findings) = host.doctor(&[]).await;
    assert!(content, "{findings:#?}");
    assert_says(&findings, "stream orders", "warning", "DescribeDeliveryStream");

    // Putting is not allowed, which only a put can show.
    fake.answer(Reply::Error(400, "AccessDeniedException"));
    let (content, findings) = host.doctor(&["--send-test-event", "orders"]).await;
    assert!(!content);
    assert_says(&findings, "test event orders", "failure", "AccessDenied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_do_not_suit_a_destination_are_a_warning() {
    let fake = FakeFirehose::start([]).await;
    let endpoint = json!({
        "DestinationId": "destinationId-000000000001",
        "HttpEndpointDestinationDescription": { "EndpointConfiguration": { "Url": "https://x" } },
    });
    fake.describe(Ok(("DirectPut", endpoint)));
    let host = Host::new(&fake.url, "aggregate = \"lines\"");
    let (content, findings) = host.doctor(&[]).await;
    assert!(content, "{findings:#?}");
    assert_says(&findings, "stream orders", "warning", "does not suit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_does_not_suit_a_delivery_stream_is_said() {
    let fake = FakeFirehose::start([]).await;
    let steps = processing(&[
        ("RecordDeAggregation", &[("SubRecordType", "JSON")]),
        ("AppendDelimiterToRecord", &[]),
    ]);
    fake.describe(Ok(("DirectPut", to_s3(&steps))));
    let host = Host::new(&fake.url, "aggregate = \"lines\"\ncompression = \"gzip\"");
    let (content, findings) = host.doctor(&[]).await;
    assert!(content, "{findings:#?}");
    let orders = findings.iter().filter(|finding| finding["subject"] == "stream orders");
    let said: Vec<_> = orders.map(ToString::to_string).collect();
    assert_eq!(said.len(), 3, "{said:#?}");
    for (finding, says) in said.iter().zip(["above 500 events", "a delimiter", "compression"]) {
        assert!(finding.contains(says) && finding.contains("\"warning\""), "{finding}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_at_the_other_end_is_a_failure() {
    let host = Host::new("http://127.0.0.1:9", "");
    let (content, findings) = host.doctor(&[]).await;
    assert!(!content);
    assert_says(&findings, "endpoint", "failure", "refused");
    let (content, findings) = host.doctor(&["--offline"]).await;
    assert!(content, "{findings:#?}");
}
