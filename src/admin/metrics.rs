//! Prometheus: the snapshot as text, by one table that is the documentation as well.
//!
//! The text format (version 0.0.4) is a dozen lines of code. Everything that changes is in the
//! snapshot already, so a client library with its own registry would count everything twice.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::{Snapshot, StreamSnapshot};
use crate::status::histogram::{BOUNDS_MICROS, Durations};

mod table;

pub use table::METRICS;

/// What the text format is called in HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A name in `/metrics`.
#[derive(Debug)]
pub struct Metric {
    /// With its unit, and `_total` where it only grows.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    values: Values,
}

/// What a metric's series are made of.
#[derive(Debug)]
enum Values {
    /// It only grows.
    Counter(fn(&Snapshot) -> Number),
    /// It goes up and down.
    Gauge(fn(&Snapshot) -> Number),
    /// One that grows for each reason.
    CounterByReason(fn(&Snapshot) -> &BTreeMap<String, u64>),
    /// Always 1; the label says it.
    Info(&'static str, fn(&Snapshot) -> String),
    Histogram(fn(&Snapshot) -> &Durations),
    /// The same for each stream.
    StreamCounter(fn(&StreamSnapshot) -> Number),
    StreamGauge(fn(&StreamSnapshot) -> Number),
    /// Reasons that are named are there from the start, at 0, so that the first increase is seen.
    StreamCounterByReason(&'static [&'static str], fn(&StreamSnapshot) -> &BTreeMap<String, u64>),
    /// Always 1; the labels say it. There is none where nothing is to be said.
    StreamInfo(&'static [&'static str], fn(&StreamSnapshot) -> Vec<Vec<String>>),
}

/// A value as it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Whole(u64),
    Real(f64),
    /// There is no such series now.
    None,
}

impl From<u64> for Number {
    fn from(n: u64) -> Self {
        Self::Whole(n)
    }
}

impl From<f64> for Number {
    fn from(n: f64) -> Self {
        Self::Real(n)
    }
}

impl From<bool> for Number {
    fn from(is: bool) -> Self {
        Self::Whole(is.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Number {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

impl Metric {
    /// Its kind, in Prometheus' word.
    pub fn kind(&self) -> &'static str {
        match self.values {
            Values::Counter(_)
            | Values::CounterByReason(_)
            | Values::StreamCounter(_)
            | Values::StreamCounterByReason(..) => "counter",
            Values::Gauge(_)
            | Values::Info(..)
            | Values::StreamGauge(_)
            | Values::StreamInfo(..) => "gauge",
            Values::Histogram(_) => "histogram",
        }
    }

    /// Its labels.
    pub fn labels(&self) -> Vec<&'static str> {
        match self.values {
            Values::Counter(_) | Values::Gauge(_) => Vec::new(),
            Values::Histogram(_) => vec!["le"],
            Values::CounterByReason(_) => vec!["reason"],
            Values::Info(label, _) => vec![label],
            Values::StreamCounter(_) | Values::StreamGauge(_) => vec!["stream"],
            Values::StreamCounterByReason(..) => vec!["stream", "reason"],
            Values::StreamInfo(labels, _) => [&["stream"], labels].concat(),
        }
    }
}

/// The text for `/metrics`.
pub fn render(snapshot: &Snapshot) -> String {
    let mut text = Text(String::with_capacity(16 * 1024 + snapshot.streams.len() * 4096));
    for metric in METRICS {
        text.metric(metric, snapshot);
    }
    text.0
}

struct Text(String);

impl Text {
    fn metric(&mut self, metric: &Metric, snapshot: &Snapshot) {
        let name = metric.name;
        self.line(format_args!("# HELP {name} {}", metric.help));
        self.line(format_args!("# TYPE {name} {}", metric.kind()));
        let streams = &snapshot.streams;
        match &metric.values {
            Values::Counter(of) | Values::Gauge(of) => self.series(name, &[], of(snapshot)),
            Values::CounterByReason(of) => {
                for (reason, n) in of(snapshot) {
                    self.series(name, &[("reason", reason)], (*n).into());
                }
            }
            Values::Info(label, of) => self.series(name, &[(label, &of(snapshot))], true.into()),
            Values::Histogram(of) => self.histogram(name, of(snapshot)),
            Values::StreamCounter(of) | Values::StreamGauge(of) => {
                for stream in streams {
                    self.series(name, &[("stream", &stream.stream)], of(stream));
                }
            }
            Values::StreamCounterByReason(known, of) => {
                for stream in streams {
                    self.by_reason(name, &stream.stream, known, of(stream));
                }
            }
            Values::StreamInfo(names, of) => {
                for stream in streams {
                    for values in of(stream) {
                        let labels = names.iter().zip(&values).map(|(n, v)| (*n, v.as_str()));
                        let labels: Vec<_> = [("stream", stream.stream.as_str())]
                            .into_iter()
                            .chain(labels)
                            .collect();
                        self.series(name, &labels, true.into());
                    }
                }
            }
        }
    }

    fn by_reason(
        &mut self,
        name: &str,
        stream: &str,
        known: &[&str],
        counts: &BTreeMap<String, u64>,
    ) {
        let absent = known.iter().filter(|reason| !counts.contains_key(**reason));
        for reason in absent {
            self.series(name, &[("stream", stream), ("reason", reason)], 0.into());
        }
        for (reason, n) in counts {
            self.series(name, &[("stream", stream), ("reason", reason)], (*n).into());
        }
    }

    /// Buckets count everything up to their bound.
    #[expect(clippy::cast_precision_loss, reason = "seconds of a histogram are no exact number")]
    fn histogram(&mut self, name: &str, durations: &Durations) {
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (position, bound) in BOUNDS_MICROS.iter().enumerate() {
            count += durations.buckets.get(position).copied().unwrap_or_default();
            let bound = (*bound as f64 / 1e6).to_string();
            self.series(&bucket, &[("le", &bound)], count.into());
        }
        self.series(&bucket, &[("le", "+Inf")], durations.count().into());
        let sum = durations.sum_micros as f64 / 1e6;
        self.series(&format!("{name}_sum"), &[], sum.into());
        self.series(&format!("{name}_count"), &[], durations.count().into());
    }

    fn series(&mut self, name: &str, labels: &[(&str, &str)], value: Number) {
        let labels = Labels(labels);
        match value {
            Number::Whole(n) => self.line(format_args!("{name}{labels} {n}")),
            Number::Real(n) => self.line(format_args!("{name}{labels} {n}")),
            Number::None => {}
        }
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _written = self.0.write_fmt(line).is_ok();
        self.0.push('\n');
    }
}

struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, value)) in self.0.iter().enumerate() {
            f.write_str(if position == 0 { "{" } else { "," })?;
            write!(f, "{name}=\"")?;
            for c in value.chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '"' => f.write_str("\\\"")?,
                    '\n' => f.write_str("\\n")?,
                    c => f.write_char(c)?,
                }
            }
            f.write_char('"')?;
        }
        if self.0.is_empty() { Ok(()) } else { f.write_char('}') }
    }
}

#[cfg(test)]
mod tests;
