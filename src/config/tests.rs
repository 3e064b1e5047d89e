//! What the configuration promises to people: every mistake is named with its place, its key and
//! what is allowed, all of them at once.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::*;
use crate::sink::{BoxFuture, Sink};
use crate::source::Bound;
use crate::systemd::activation::Inherited;

/// A door that cannot be opened: these tests read configurations and start nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Door {
    listen: Option<SocketAddr>,
    path: Option<PathBuf>,
    mode: Option<String>,
}

impl Source for Door {
    fn kind(&self) -> &'static str {
        if self.listen.is_some() { "tcp" } else { "unix" }
    }

    fn bind(&self, _inherited: &mut Inherited) -> io::Result<Box<dyn Bound>> {
        Err(io::Error::other(format!("{:?} {:?}", self.path, self.mode)))
    }
}

/// A destination that cannot be reached.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Destination {
    region: Option<String>,
    buffer: Option<value::Size>,
}

impl SinkConfig for Destination {
    fn kind(&self) -> &'static str {
        "firehose"
    }

    fn build(&self) -> BoxFuture<'_, anyhow::Result<Arc<dyn Sink>>> {
        Box::pin(async { anyhow::bail!("{:?} {:?}", self.region, self.buffer) })
    }
}

fn door(table: toml::Table) -> Result<Arc<dyn Source>, toml::de::Error> {
    table.try_into::<Door>().map(|door| Arc::new(door) as Arc<dyn Source>)
}

fn destination(table: toml::Table) -> Result<Arc<dyn SinkConfig>, toml::de::Error> {
    table.try_into::<Destination>().map(|sink| Arc::new(sink) as Arc<dyn SinkConfig>)
}

const GIB: u64 = 1 << 30;

fn inputs<'a>(text: &'a str, variables: &'a [(String, String)]) -> Inputs<'a> {
    Inputs {
        doors: defaults::DOORS,
        file: Some(("standpipe.toml", text)),
        variables,
        over: None,
        sources: &[
            crate::source::Kind { name: "unix", parse: door },
            crate::source::Kind { name: "tcp", parse: door },
        ],
        sinks: &[crate::sink::Kind { name: "firehose", parse: destination }],
        disk_bytes: |_dir: &Path| Ok(1000 * GIB),
    }
}

fn parse(text: &str) -> Config {
    resolve(&inputs(text, &[])).unwrap().config
}

/// The problems of a text, one per line.
fn problems(text: &str) -> Vec<String> {
    problems_with(text, &[])
}

fn problems_with(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let variables = owned(variables);
    let Problems(problems) = resolve(&inputs(text, &variables)).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// One problem that begins with this place and key, and mentions all of that.
#[track_caller]
fn assert_problem(text: &str, beginning: &str, mentions: &[&str]) {
    let found = problems(text);
    let [problem] = found.as_slice() else { panic!("not one problem: {found:#?}") };
    assert!(problem.starts_with(beginning), "{problem}");
    for mention in mentions {
        assert!(problem.contains(mention), "{mention:?} is not in: {problem}");
    }
}

#[test]
fn nothing_configured_means_the_defaults() {
    let config = parse("");
    assert_eq!(config.data_dir, Path::new("/var/lib/standpipe"));
    assert_eq!(config.admin.unix, Path::new("/var/lib/standpipe/admin.sock"));
    let kinds: Vec<_> = config.sources.iter().map(|source| source.kind()).collect();
    assert_eq!(kinds, ["unix", "tcp"]);
    assert_eq!(config.sinks.keys().collect::<Vec<_>>(), ["firehose"]);
    assert_eq!(config.wal.bytes_max, 20 * GIB);
    assert_eq!(config.wal.free_bytes_min, GIB);
    assert_eq!(config.stream(&"any".parse().unwrap()), &defaults::stream());
}

#[test]
fn the_log_is_bounded_by_the_disk() {
    let small = Inputs { disk_bytes: |_| Ok(10 * GIB), ..inputs("", &[]) };
    let config = resolve(&small).unwrap().config;
    assert_eq!(config.wal.bytes_max, 5 * GIB);
    assert_eq!(config.wal.free_bytes_min, GIB / 2);

    let unreadable = Inputs { disk_bytes: |_| Err(io::Error::other("gone")), ..inputs("", &[]) };
    let error = resolve(&unreadable).unwrap_err().to_string();
    assert!(error.contains("data_dir") && error.contains("gone"), "{error}");
}

#[test]
fn an_unknown_key_is_named_with_the_known_ones() {
    assert_problem(
        "\n[wal]\nsnyc = \"always\"\n",
        "standpipe.toml:3: wal.snyc: ",
        &["`sync`", "`segment_bytes`"],
    );
    assert_problem("dat_dir = \"/\"", "standpipe.toml:1: dat_dir: ", &["`data_dir`", "`source`"]);
    assert_problem(
        "[stream.orders]\nlingr = \"1s\"",
        "standpipe.toml:2: stream.orders.lingr: ",
        &["`linger`"],
    );
    assert_problem("wal.pool = 1", "standpipe.toml:1: wal.pool: ", &["`pool_bytes_max`"]);
}

#[test]
fn a_bad_value_shows_what_is_allowed() {
    let wal = |line: &str| format!("[wal]\n{line}\n");
    assert_problem(
        &wal("segment_bytes = \"64 apples\""),
        "standpipe.toml:2: wal.segment_bytes: ",
        &["64 apples", "\"64MiB\""],
    );
    assert_problem(&wal("sync = \"often\""), "standpipe.toml:2: wal.sync: ", &["\"always\""]);
    assert_problem(&wal("segment_bytes = 1"), "standpipe.toml:2: wal.segment_bytes: ", &["2MiB"]);
    assert_problem(
        &wal("bytes_max = \"100MiB\""),
        "standpipe.toml:2: wal.bytes_max: ",
        &["128MiB"],
    );
    assert_problem(&wal("owners = 0"), "standpipe.toml:2: wal.owners: ", &["from 1 to 256"]);
    assert_problem(&wal("sync = \"1h\""), "standpipe.toml:2: wal.sync: ", &["at most 10s"]);
    assert_problem("wal = 5", "standpipe.toml:1: wal: ", &["integer"]);
    assert_problem(
        "[intake]\nmemory_max = \"1MiB\"",
        "standpipe.toml:2: intake.memory_max: ",
        &["8MiB"],
    );
    assert_problem(
        "[upload]\nmemory_max = \"4MB\"",
        "standpipe.toml:2: upload.memory_max: ",
        &["16MiB"],
    );
    assert_problem(
        "[upload]\nmemory_max = \"8EiB\"",
        "standpipe.toml:2: upload.memory_max: ",
        &["64GiB"],
    );
    assert_problem(
        "[upload]\nbackoff_max = \"0s\"",
        "standpipe.toml:2: upload.backoff_max: ",
        &["100ms"],
    );
}

#[test]
fn streams_are_checked_against_the_rest() {
    let stream = |line: &str| format!("[stream.orders]\n{line}\n");
    let at = |key: &str| format!("standpipe.toml:2: stream.orders.{key}: ");
    assert_problem(&stream("sink = \"s3\""), &at("sink"), &["`s3`", "`firehose`"]);
    assert_problem(&stream("aggregate = \"all\""), &at("aggregate"), &["`auto`", "`lines`"]);
    assert_problem(&stream("compression = \"zip\""), &at("compression"), &["`none`", "`gzip`"]);
    assert_problem(&stream("identity = \"yes\""), &at("identity"), &["`id_and_time`"]);
    assert_problem(&stream("events_per_record_max = 0"), &at("events_per_record_max"), &["1 to"]);
    assert_problem(&stream("when_full = \"wait\""), &at("when_full"), &["`block`", "`reject`"]);
    assert_problem(&stream("in_flight_max = 0"), &at("in_flight_max"), &["from 1 to 64"]);
    assert_problem(&stream("linger = \"2h\""), &at("linger"), &["at most 1h"]);
    assert_problem(&stream("bytes_max = 5"), &at("bytes_max"), &["2MiB"]);
    assert_problem(&stream("delivery_stream = \"a b\""), &at("delivery_stream"), &["1 to 64"]);
    assert_problem(
        &stream("delimiter = \"\"\naggregate = \"lines\""),
        &at("delimiter"),
        &["run together"],
    );
    assert_problem("[stream.\"a b\"]", "standpipe.toml:1: stream.\"a b\": ", &["a-z A-Z 0-9"]);
    // A mistake in what is inherited is reported once.
    assert_problem(
        "[stream.default]\nin_flight_max = 0\n[stream.orders]\n[stream.clicks]\n",
        "standpipe.toml:2: stream.default.in_flight_max: ",
        &["from 1 to 64"],
    );
}

#[test]
fn sources_and_sinks_name_their_kinds_and_options() {
    let source = |lines: &str| format!("[[source]]\nkind = \"unix\"\n\n[[source]]\n{lines}\n");
    assert_problem(
        &source("kind = \"udp\""),
        "standpipe.toml:5: source[1].kind: ",
        &["`udp`", "`unix`", "`tcp`"],
    );
    assert_problem(
        &source("listen = \"127.0.0.1:1\""),
        "standpipe.toml:4: source[1].kind: ",
        &["`unix`", "`tcp`"],
    );
    assert_problem(
        &source("kind = \"tcp\"\nlisten = \"127.0.0.1:1\"\nlissen = 5"),
        "standpipe.toml:7: source[1].lissen: ",
        &["`listen`"],
    );
    assert_problem(
        &source("kind = \"tcp\"\nlisten = \"here\""),
        "standpipe.toml:6: source[1].listen: ",
        &["socket address"],
    );
    assert_problem("[sink.lake]", "standpipe.toml:1: sink.lake.kind: ", &["`firehose`"]);
    assert_problem(
        "[sink.firehose]\nbuffer = \"much\"",
        "standpipe.toml:2: sink.firehose.buffer: ",
        &["\"64MiB\""],
    );
    assert_eq!(parse("source = []").sources.len(), 0);
}

#[test]
fn all_mistakes_are_reported_at_once_in_their_order() {
    let text = "colour = 1\n[wal]\nsync = 5\nowners = 0\n[stream.a]\nsink = \"x\"\n\
                [[source]]\nkind = \"tcp\"\nport = 1\nlisten = 2\n";
    let found = problems(text);
    let places: Vec<_> = found.iter().map(|line| line.split(' ').next().unwrap()).collect();
    let expected = [1, 3, 4, 6, 9, 10].map(|line| format!("standpipe.toml:{line}:"));
    assert_eq!(places, expected, "{found:#?}");
    let all = resolve(&inputs(text, &[])).unwrap_err().to_string();
    assert!(
        all.starts_with("the configuration has 6 errors\n  standpipe.toml:1: colour: "),
        "{all}"
    );
}

#[test]
fn what_is_not_toml_is_named_by_line() {
    let found = problems("[wal]\nsync = always\nowners = = 3\n");
    assert!(found.iter().any(|line| line.starts_with("standpipe.toml:2: ")), "{found:#?}");
    assert!(found.iter().any(|line| line.starts_with("standpipe.toml:3: ")), "{found:#?}");
}

#[test]
fn streams_inherit_from_the_default() {
    let config = parse(
        "[stream.default]\nlinger = \"1s\"\naggregate = \"lines\"\n\
         [stream.orders]\ndelivery_stream = \"orders-prod\"\nlinger = \"2s\"\nordered = true\n",
    );
    let orders = config.stream(&"orders".parse().unwrap());
    assert_eq!(orders.linger, Duration::from_secs(2));
    assert_eq!(orders.aggregate, Aggregate::Lines);
    assert_eq!(orders.delivery_stream.as_deref(), Some("orders-prod"));
    let other = config.stream(&"other".parse().unwrap());
    assert_eq!((other.linger, other.ordered), (Duration::from_secs(1), false));
}

#[test]
fn the_environment_lies_over_the_file() {
    let variables = owned(&[
        ("STANDPIPE_DATA_DIR", "/srv/standpipe"),
        ("STANDPIPE_WAL__SYNC", "200ms"),
        ("STANDPIPE_WAL__OWNERS", "3"),
        ("STANDPIPE_STREAM__DEFAULT__DELIMITER", "\"\\r\\n\""),
        ("STANDPIPE_STREAM__WEB_ACCESS__LINGER", "9s"),
        ("STANDPIPE_STREAM__NEW__PAUSED", "true"),
        ("STANDPIPE_SOURCE__1__LISTEN", "127.0.0.1:9"),
        ("STANDPIPE_SINK__FIREHOSE__REGION", "eu-central-1"),
    ]);
    let text = "[wal]\nsync = \"always\"\n[stream.Web-access]\nordered = true\n";
    let config = resolve(&inputs(text, &variables)).unwrap().config;
    assert_eq!(config.data_dir, Path::new("/srv/standpipe"));
    assert_eq!(config.wal.sync_interval, Duration::from_millis(200));
    assert_eq!(config.wal.owners, 3);
    assert_eq!(config.stream_default.delimiter, b"\r\n");
    let web = config.stream(&"Web-access".parse().unwrap());
    assert_eq!((web.linger, web.ordered), (Duration::from_secs(9), true));
    assert!(config.stream(&"new".parse().unwrap()).paused);
    assert!(format!("{:?}", config.sources).contains("127.0.0.1:9"));
    assert!(format!("{:?}", config.sinks).contains("eu-central-1"));
}

#[test]
fn mistakes_in_the_environment_name_the_variable() {
    let found = problems_with(
        "[wal]\nowners = 2\n",
        &[
            ("STANDPIPE_SOURCE__7__LISTEN", "127.0.0.1:9"),
            ("STANDPIPE_WAL__OWNERS", "many"),
            ("STANDPIPE_WALL", "1"),
        ],
    );
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("STANDPIPE_SOURCE__7__LISTEN: source[7].listen: "), "{found:#?}");
    assert!(found[1].starts_with("STANDPIPE_WAL__OWNERS: wal.owners: "), "{found:#?}");
    assert!(found[2].starts_with("STANDPIPE_WALL: wall: "), "{found:#?}");
    assert!(found[2].contains("STANDPIPE_WAL__SYNC"), "{found:#?}");
}

#[test]
fn a_socket_path_that_is_too_long_says_what_to_set() {
    let text = format!("data_dir = \"/{}\"", "d".repeat(100));
    assert_problem(&text, "standpipe.toml:1: data_dir: ", &["admin.unix", "107"]);
}

#[test]
fn the_effective_configuration_reads_back_to_the_same() {
    let text = "[stream.orders]\nlinger = \"2s\"\nbytes_max = 3000001\n[wal]\nsync = \"5ms\"\n";
    let resolved = resolve(&inputs(text, &[])).unwrap();
    let printed = toml::to_string(&resolved.effective).unwrap();
    let again = resolve(&inputs(&printed, &[])).unwrap();
    assert_eq!(format!("{:?}", resolved.config), format!("{:?}", again.config), "{printed}");
}

const SHIPPED: &str = include_str!("../../packaging/standpipe.toml");

/// The shipped file with its settings taken out of their comments: prose has a space behind the `#`.
fn uncommented() -> String {
    let lines = SHIPPED.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with([' ', '#']) => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_shows_the_defaults() {
    let defaults = format!("{:?}", parse(""));
    assert_eq!(format!("{:?}", parse(SHIPPED)), defaults);
    assert_eq!(format!("{:?}", parse(&uncommented())), defaults);
}

#[test]
fn the_shipped_file_and_the_defaults_fit_the_kinds_that_exist() {
    let real = |text: &str| {
        let (sources, sinks) = (crate::source::KINDS, crate::sink::KINDS);
        resolve(&Inputs { sources, sinks, ..inputs(text, &[]) }).unwrap().config
    };
    assert_eq!(format!("{:?}", real(&uncommented())), format!("{:?}", real("")));
}

#[test]
fn the_shipped_file_shows_every_key_that_has_a_default() {
    let effective = resolve(&inputs("", &[])).unwrap().effective;
    let effective = toml::Table::try_from(&effective).unwrap();
    let shown: toml::Table = uncommented().parse().unwrap();
    assert_eq!(toml::to_string(&keys(&shown)), toml::to_string(&keys(&effective)));
}

/// The keys of a table and of the tables in it, without their values.
fn keys(table: &toml::Table) -> toml::Table {
    let without_value = |(key, value): (&String, &toml::Value)| {
        let inner = value.as_table().map(keys).unwrap_or_default();
        (key.clone(), toml::Value::Table(inner))
    };
    table.iter().map(without_value).collect()
}
