//! What the service manager is told while the agent runs.

use std::time::Duration;

use crate::admin::Snapshot;
use crate::agent::pulse::Pulse;
use crate::cli::human;
use crate::limits::service::SERVICE_STATUS_INTERVAL;
use crate::systemd::Notifier;

/// Streams in trouble that the status line names.
const NAMED_MAX: usize = 3;

/// Signs of life in a row that are missing before it is logged: a process that was stopped, or a machine
/// that slept, finds its wait over before anybody could have answered.
const MISSED_BEFORE_SAID: u32 = 2;

/// Tells how the agent fares, for as long as it does. A sign of life is given only where the
/// pipeline has shown one.
pub(super) async fn tell(notifier: &Notifier, mut pulse: Pulse) -> std::convert::Infallible {
    let limit = notifier.watchdog().unwrap_or(Duration::MAX);
    let period = SERVICE_STATUS_INTERVAL.min(limit / 3);
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut missed = 0_u32;
    loop {
        ticks.tick().await;
        let trouble = match tokio::time::timeout(period, pulse.beat()).await {
            Ok((snapshot, None)) => {
                notifier.alive(&line(&snapshot));
                None
            }
            Ok((_, Some(still))) => {
                let still = human::age(still.as_secs_f64());
                Some(format!("delivery has been still for {still}, with events that wait"))
            }
            Err(_elapsed) => Some("an owner of the log does not answer".to_owned()),
        };
        if let Some(trouble) = trouble {
            notifier.status(&trouble);
            missed = missed.saturating_add(1);
            if missed == MISSED_BEFORE_SAID {
                tracing::error!(trouble, watchdog = ?notifier.watchdog(), "no sign of life");
            }
        } else {
            if missed >= MISSED_BEFORE_SAID {
                tracing::info!("signs of life again");
            }
            missed = 0;
        }
    }
}

/// The agent in a line, for `systemctl status`.
fn line(snapshot: &Snapshot) -> String {
    let streams = &snapshot.streams;
    let events: u64 = streams.iter().map(|stream| stream.backlog_events).sum();
    let bytes: u64 = streams.iter().map(|stream| stream.backlog_bytes).sum();
    let oldest = streams.iter().filter_map(|stream| stream.oldest_age_seconds).reduce(f64::max);
    let backlog = match oldest {
        Some(age) if events > 0 => {
            let (count, age) = (counted(events, "event"), human::age(age));
            format!("backlog {count}, {}, oldest {age}", human::bytes(bytes))
        }
        _ => "no backlog".to_owned(),
    };
    let mut parts = vec![counted(streams.len() as u64, "stream"), backlog];
    let troubled = streams.iter().map(|stream| (&stream.stream, &stream.state().state));
    let troubled =
        troubled.filter(|(_, state)| !["ok", "idle", "opening"].contains(&state.as_str()));
    let troubled: Vec<_> = troubled.map(|(stream, state)| format!("{stream} {state}")).collect();
    if let Some((named, more)) = troubled.split_at_checked(NAMED_MAX) {
        parts.push(named.join(", "));
        if !more.is_empty() {
            parts.push(format!("{} more in trouble", counted(more.len() as u64, "stream")));
        }
    } else if !troubled.is_empty() {
        parts.push(troubled.join(", "));
    }
    parts.join("; ")
}

fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", human::count(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use standpipe_wal::StreamName;

    use super::*;
    use crate::admin::{Registry, Streams};
    use crate::status::{AgentStatus, Disk, StreamStatus};

    #[derive(Debug)]
    struct Few(Vec<(StreamName, Arc<StreamStatus>)>);

    impl Streams for Few {
        fn streams(&self) -> Vec<(StreamName, Arc<StreamStatus>)> {
            self.0.clone()
        }

        fn disk(&self) -> Disk {
            Disk::default()
        }

        fn hurry(&self, _name: &StreamName) -> bool {
            false
        }
    }

    fn line_of(states: &[&str]) -> String {
        let streams = states.iter().enumerate().map(|(index, state)| {
            let numbers = Arc::<StreamStatus>::default();
            numbers.upload.enter(state, "because");
            numbers.durable.set(1000);
            numbers.backlog_bytes.set(2048);
            numbers.oldest_pending_ms.set(u64::MAX / 2);
            (format!("s{index}").parse().unwrap(), numbers)
        });
        let streams = Arc::new(Few(streams.collect()));
        line(&Registry::new(streams, Arc::<AgentStatus>::default(), 0.0).snapshot())
    }

    #[test]
    fn the_line_says_what_an_operator_asks_first() {
        assert_eq!(line_of(&[]), "0 streams; no backlog");
        assert_eq!(line_of(&["ok"]), "1 stream; backlog 1,000 events, 2.0 KiB, oldest 0s");
        let line = line_of(&["missing", "ok", "denied", "throttled", "full", "full"]);
        assert_eq!(
            line,
            "6 streams; backlog 6,000 events, 12.0 KiB, oldest 0s; s0 missing, s2 denied, \
             s3 throttled; 2 streams more in trouble"
        );
    }
}
