//! What the configuration means: fills in defaults, checks every value and how they fit together.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use standpipe_wal::limits::SEGMENT_BYTES_MIN;

use super::document::Document;
use super::problem::{KeyPath, Problems};
use super::raw::Raw;
use super::value::{Period, Size};
use super::{
    AdminConfig, Config, CostConfig, IntakeConfig, LogConfig, UploadConfig, WalConfig, defaults,
    environment, kinds,
};
use crate::limits;
use crate::sink::{self, SinkConfig};
use crate::source::{self, Source};
use crate::telemetry;

mod streams;

/// The longest path that a unix socket can have on Linux (`sun_path`, less its final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Everything that a configuration is made from. Nothing else is read.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Sources and sinks below the file, as TOML; [`defaults::DOORS`] unless the agent is embedded.
    pub doors: &'a str,
    /// The file's name and text.
    pub file: Option<(&'a str, &'a str)>,
    /// `STANDPIPE_…` variables.
    pub variables: &'a [(String, String)],
    /// TOML laid over everything, and what to call it in errors.
    pub over: Option<(&'a str, &'a str)>,
    /// The kinds of sources that exist.
    pub sources: &'a [source::Kind],
    /// The kinds of sinks that exist.
    pub sinks: &'a [sink::Kind],
    /// How large the file system is that holds a directory which may not exist yet.
    pub disk_bytes: fn(&Path) -> io::Result<u64>,
}

/// A configuration in both forms.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// For the agent.
    pub config: Config,
    /// For people: the same with every default filled in, in the form of the file.
    pub effective: Raw,
}

/// Makes a configuration, or says everything that is wrong with it.
pub fn resolve(inputs: &Inputs<'_>) -> Result<Resolved, Problems> {
    let mut document = Document::default();
    document.add_text("built-in defaults", inputs.doors);
    if let Some((name, text)) = inputs.file {
        document.add_text(name, text);
    }
    environment::apply(&mut document, inputs.variables);
    if let Some((name, text)) = inputs.over {
        document.add_text(name, text);
    }
    let raw: Raw = document.read();
    let mut resolver = Resolver { document, raw };
    let config = resolver.config(inputs);
    let Resolver { mut document, raw } = resolver;
    if document.problems.is_empty() {
        return Ok(Resolved { effective: super::effective::of(&config, &raw), config });
    }
    document.problems.sort_by_key(|problem| problem.position);
    document.problems.dedup();
    Err(Problems(document.problems))
}

struct Resolver<'t> {
    document: Document<'t>,
    raw: Raw,
}

impl Resolver<'_> {
    fn config(&mut self, inputs: &Inputs<'_>) -> Config {
        let data_dir = self.data_dir();
        let disk_bytes = (inputs.disk_bytes)(&data_dir).unwrap_or_else(|error| {
            let path = KeyPath::of(["data_dir"]);
            let message =
                format!("cannot look at the file system of {}: {error}", data_dir.display());
            self.document.report(&path, &message);
            u64::MAX
        });
        let wal = self.wal(disk_bytes);
        let sources = self.sources(inputs.sources);
        let sinks = self.sinks(inputs.sinks);
        let (stream_default, streams) = self.streams();
        Config {
            intake: self.intake(),
            upload: self.upload(),
            admin: self.admin(&data_dir),
            cost: self.cost(),
            log: self.log(),
            data_dir,
            sources,
            sinks,
            wal,
            stream_default,
            streams,
        }
    }

    fn data_dir(&mut self) -> PathBuf {
        let dir = self.raw.data_dir.clone().unwrap_or_else(defaults::data_dir);
        std::path::absolute(&dir).unwrap_or_else(|error| {
            self.document.report(&KeyPath::of(["data_dir"]), &error.to_string());
            dir
        })
    }

    fn wal(&mut self, disk_bytes: u64) -> WalConfig {
        let default = defaults::wal(disk_bytes);
        let raw = self.raw.wal.clone();
        let key = |key| KeyPath::of(["wal", key]);
        let segment_bytes = raw.segment_bytes.map_or(default.segment_bytes, |size| size.0);
        self.at_least(&key("segment_bytes"), segment_bytes, SEGMENT_BYTES_MIN);
        if let Some(Size(bytes_max)) = raw.bytes_max {
            // With one segment alone nothing could ever be trimmed.
            self.at_least(&key("bytes_max"), bytes_max, segment_bytes.saturating_mul(2));
        }
        let owners = raw.owners.unwrap_or(default.owners);
        self.within(&key("owners"), owners, 1, limits::OWNERS_MAX);
        let sync_interval = raw.sync.map_or(default.sync_interval, |sync| sync.0);
        self.at_most(&key("sync"), sync_interval, limits::SYNC_INTERVAL_MAX);
        let bytes_max = raw.bytes_max.map_or(default.bytes_max, |size| size.0);
        let pool_default = default.pool_bytes_max.min(bytes_max / 8);
        WalConfig {
            sync_interval,
            segment_bytes,
            bytes_max,
            free_bytes_min: raw.free_bytes_min.map_or(default.free_bytes_min, |size| size.0),
            owners,
            pool_bytes_max: raw.pool_bytes_max.map_or(pool_default, |size| size.0),
        }
    }

    fn intake(&mut self) -> IntakeConfig {
        let default = defaults::intake();
        let raw = self.raw.intake.clone();
        let key = |key| KeyPath::of(["intake", key]);
        let memory_max = raw.memory_max.map_or(default.memory_max, Size::in_memory);
        self.memory(&key("memory_max"), memory_max, limits::INTAKE_MEMORY_MIN);
        let streams_max = raw.streams_max.unwrap_or(default.streams_max);
        self.within(&key("streams_max"), streams_max, 1, limits::STREAMS_MAX);
        let connections_max = raw.connections_max.unwrap_or(default.connections_max);
        self.within(&key("connections_max"), connections_max, 1, limits::CONNECTIONS_MAX);
        IntakeConfig { memory_max, streams_max, connections_max }
    }

    fn upload(&mut self) -> UploadConfig {
        let default = defaults::upload();
        let raw = self.raw.upload.clone();
        let key = |key| KeyPath::of(["upload", key]);
        let memory_max = raw.memory_max.map_or(default.memory_max, Size::in_memory);
        self.memory(&key("memory_max"), memory_max, limits::UPLOAD_MEMORY_MIN);
        let backoff_max = raw.backoff_max.map_or(default.backoff_max, |period| period.0);
        if backoff_max < limits::BACKOFF_MAX_MIN {
            let message = format!("must be at least {}", Period(limits::BACKOFF_MAX_MIN));
            self.document.report(&key("backoff_max"), &message);
        }
        let drain_timeout = raw.drain_timeout.map_or(default.drain_timeout, |period| period.0);
        let ask_within = raw.ask_within.map_or(default.ask_within, |period| period.0);
        self.at_most(&key("ask_within"), ask_within, limits::ASK_WITHIN_MAX);
        let in_flight_max = raw.in_flight_max.unwrap_or(default.in_flight_max);
        self.within(&key("in_flight_max"), in_flight_max, 1, limits::SINK_IN_FLIGHT_MAX);
        let dead_letter_bytes_max =
            raw.dead_letter_bytes_max.map_or(default.dead_letter_bytes_max, |size| size.0);
        let dead_letters_per_minute =
            raw.dead_letters_per_minute.unwrap_or(default.dead_letters_per_minute);
        let (per_minute, max) = (dead_letters_per_minute, limits::DEAD_LETTERS_PER_MINUTE_MAX);
        self.within(&key("dead_letters_per_minute"), per_minute as usize, 0, max as usize);
        UploadConfig {
            memory_max,
            ask_within,
            drain_timeout,
            backoff_max,
            in_flight_max,
            dead_letter_bytes_max,
            dead_letters_per_minute,
        }
    }

    fn admin(&mut self, data_dir: &Path) -> AdminConfig {
        let configured = self.raw.admin.unix.clone();
        let key = if configured.is_some() {
            KeyPath::of(["admin", "unix"])
        } else {
            KeyPath::of(["data_dir"])
        };
        let unix = configured.unwrap_or_else(|| data_dir.join(defaults::ADMIN_SOCKET));
        let unix = std::path::absolute(&unix).unwrap_or(unix);
        if unix.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            let message = format!(
                "the admin socket {} is longer than the {SOCKET_PATH_BYTES_MAX} bytes that a unix \
                 socket's path can have; set admin.unix to a shorter one",
                unix.display()
            );
            self.document.report(&key, &message);
        }
        AdminConfig { unix, listen: self.raw.admin.listen }
    }

    fn cost(&mut self) -> CostConfig {
        let price_per_gb = self.raw.cost.price_per_gb.unwrap_or(defaults::PRICE_PER_GB);
        if !price_per_gb.is_finite() || price_per_gb < 0.0 {
            let path = KeyPath::of(["cost", "price_per_gb"]);
            self.document.report(&path, "is a price in US dollars: a number that is not negative");
        }
        CostConfig { price_per_gb }
    }

    fn log(&mut self) -> LogConfig {
        let raw = self.raw.log.clone();
        let level = raw.level.unwrap_or_else(|| defaults::LOG_LEVEL.to_owned());
        if let Err(error) = telemetry::filter(&level) {
            self.document.report(&KeyPath::of(["log", "level"]), &format!("{error:#}"));
        }
        LogConfig { level, format: raw.format.unwrap_or_default() }
    }

    fn sources(&mut self, known: &[source::Kind]) -> Vec<Arc<dyn Source>> {
        let known: Vec<_> = known.iter().map(|kind| (kind.name, kind.parse)).collect();
        let all = KeyPath::of(["source"]);
        let tables = self.raw.source.clone().into_iter().enumerate();
        let read = tables.filter_map(|(index, table)| {
            kinds::read(&mut self.document, &all.index(index), &table, None, &known)
        });
        read.collect()
    }

    fn sinks(&mut self, known: &[sink::Kind]) -> BTreeMap<String, Arc<dyn SinkConfig>> {
        let known: Vec<_> = known.iter().map(|kind| (kind.name, kind.parse)).collect();
        let mut sinks = BTreeMap::new();
        for (name, table) in self.raw.sink.clone() {
            let path = KeyPath::of(["sink", &name]);
            // `[sink.file]` needs not say what it is.
            let implied = known.iter().any(|(kind, _)| *kind == name).then_some(name.as_str());
            if let Some(sink) = kinds::read(&mut self.document, &path, &table, implied, &known) {
                sinks.insert(name, sink);
            }
        }
        sinks
    }

    fn at_least(&mut self, path: &KeyPath, bytes: u64, min: u64) {
        if bytes < min {
            let message =
                format!("{} is too small, it must be at least {}", Size(bytes), Size(min));
            self.document.report(path, &message);
        }
    }

    fn memory(&mut self, path: &KeyPath, bytes: usize, min: usize) {
        self.at_least(path, bytes as u64, min as u64);
        if bytes > limits::MEMORY_MAX {
            let max = Size(limits::MEMORY_MAX as u64);
            self.document.report(path, &format!("is too large, it must be at most {max}"));
        }
    }

    fn at_most(&mut self, path: &KeyPath, period: Duration, max: Duration) {
        if period > max {
            let message =
                format!("{} is too long, it must be at most {}", Period(period), Period(max));
            self.document.report(path, &message);
        }
    }

    fn within(&mut self, path: &KeyPath, value: usize, min: usize, max: usize) {
        if !(min..=max).contains(&value) {
            self.document.report(path, &format!("{value} must be from {min} to {max}"));
        }
    }
}
