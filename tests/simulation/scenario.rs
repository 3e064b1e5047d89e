//! What a seed stands for: a configuration, clients, and how much goes wrong.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use standpipe::config::{Config, from_text};

use crate::chance::Chance;
use crate::clients::Client;

/// The streams of every run, by what is special about them.
pub(crate) const STREAMS: [&str; 4] = ["plain", "ordered", "single", "kept"];

pub(crate) const SINK: &str = "main";

#[derive(Debug)]
pub(crate) struct Scenario {
    /// Without its sink, which each life brings.
    pub(crate) config: Config,
    pub(crate) clients: Vec<Client>,
    /// Lives before the last, quiet one.
    pub(crate) lives: u32,
}

const KIB: u64 = 1024;

impl Scenario {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        let mut clients = Vec::new();
        for (index, stream) in STREAMS.iter().enumerate() {
            // One client on the ordered stream: then the order of its events is the log's.
            let count = if *stream == "ordered" { 1 } else { chance.between(1, 2) };
            for _ in 0..count {
                clients.push(Client {
                    number: u32::try_from(clients.len()).unwrap(),
                    stream: (*stream).to_owned(),
                    answered: index == 2 || chance.one_in(2),
                    pause_ms_max: chance.pick(&[150, 600, 3_000]),
                    filler_bytes_max: chance.pick(&[20, 300, 3_000]),
                    serial: Arc::default(),
                });
            }
        }
        Self {
            config: config(chance),
            clients,
            lives: u32::try_from(chance.between(2, 6)).unwrap(),
        }
    }
}

fn config(chance: &mut Chance) -> Config {
    let mut text = format!(
        "data_dir = \"/data\"\n[sink.{SINK}]\nkind = \"firehose\"\nregion = \"us-east-1\"\n\
         [wal]\nbytes_max = \"1GiB\"\nfree_bytes_min = \"0B\"\n\
         [upload]\nbackoff_max = \"{}s\"\ndrain_timeout = \"{}s\"\n\
         [stream.default]\nsink = \"{SINK}\"\n",
        chance.pick(&[1, 10, 60]),
        chance.pick(&[0, 1, 5]),
    );
    for stream in STREAMS {
        let aggregate = if stream == "single" { "none" } else { chance.pick(&["lines", "none"]) };
        let when_full = chance.pick(&["block", "block", "reject"]);
        let (linger, in_flight) = (chance.pick(&[0, 200, 3_000]), chance.between(1, 5));
        write!(
            text,
            "[stream.{stream}]\naggregate = \"{aggregate}\"\nwhen_full = \"{when_full}\"\n\
             linger = \"{linger}ms\"\nin_flight_max = {in_flight}\nordered = {}\n\
             retain_delivered = \"{}s\"\n",
            stream == "ordered",
            if stream == "kept" { chance.pick(&[1, 20]) } else { 0 },
        )
        .unwrap();
    }
    let mut config = from_text("simulation", &text).unwrap().config;
    // Smaller than a file may say, so that segments are filled, given back and used again.
    config.wal.segment_bytes = chance.pick(&[16, 64, 256]) * KIB;
    config.wal.pool_bytes_max = chance.pick(&[0, 4]) * config.wal.segment_bytes;
    config.wal.bytes_max = chance.pick(&[1 << 20, 4 << 20, 1 << 30]);
    config.wal.free_bytes_min = 64 * KIB;
    config.wal.owners = usize::try_from(chance.between(1, 3)).unwrap();
    config.wal.sync_interval = Duration::from_millis(chance.pick(&[0, 0, 30]));
    config
}
