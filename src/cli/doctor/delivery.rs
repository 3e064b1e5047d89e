//! The way to each destination, and what is at its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use standpipe_wal::StreamName;

use super::Patient;
use crate::cli::human;
use crate::config::StreamConfig;
use crate::finding::Finding;
use crate::limits::attempt_timeout;
use crate::router::choice::{Misfit, choose, misfits};
use crate::sink::description::{Description, DestinationKind};
use crate::sink::{Call, Failure, Fate, Records, Sink, Trouble};

/// Between two questions that all hosts of an account share five of per second.
const QUESTION_INTERVAL: Duration = Duration::from_secs(1);

pub(super) async fn examine(patient: &Patient, test: Option<&StreamName>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut by_sink: BTreeMap<&str, Vec<&StreamName>> = BTreeMap::new();
    let tested = test.filter(|name| !patient.streams.contains(*name));
    for name in patient.streams.iter().chain(tested) {
        by_sink.entry(&patient.config.stream(name).sink).or_default().push(name);
    }
    if by_sink.is_empty() {
        let advice = "configure a stream as [stream.NAME], or send an event";
        findings.push(Finding::warning("streams", "there are none yet to look at", advice));
        // The way there can be examined all the same.
        by_sink.entry(&patient.config.stream_default.sink).or_default();
    }
    for (name, streams) in by_sink {
        let Some(config) = patient.config.sinks.get(name) else { continue };
        match config.build().await {
            Ok(sink) => findings.extend(of_sink(patient, sink.as_ref(), &streams, test).await),
            Err(error) => {
                let subject = format!("sink {name}");
                findings.push(Finding::failure(subject, format!("{error:#}"), "mend its table"));
            }
        }
    }
    findings
}

async fn of_sink(
    patient: &Patient,
    sink: &dyn Sink,
    streams: &[&StreamName],
    test: Option<&StreamName>,
) -> Vec<Finding> {
    let destination = |name: &StreamName| -> Arc<str> {
        let settings = patient.config.stream(name);
        settings.delivery_stream.as_deref().unwrap_or(name.as_str()).into()
    };
    let first = streams.first().map_or_else(|| "standpipe".into(), |name| destination(name));
    let mut findings = sink.examine(first).await;
    let scarce = sink.shared_account().is_some();
    for (index, name) in streams.iter().enumerate() {
        if scarce {
            tokio::time::sleep(QUESTION_INTERVAL).await;
        }
        let settings = patient.config.stream(name);
        let answer = sink.describe(destination(name)).await;
        let hopeless = answer.as_ref().is_err_and(|failure| failure.trouble != Trouble::Missing);
        findings.extend(stream(name, &destination(name), settings, answer));
        let left = streams.len() - index - 1;
        if hopeless && left > 0 {
            let says = format!("{left} more were not asked about: the answer would be the same");
            findings.push(Finding::warning("streams", says, "mend what is above first"));
            break;
        }
    }
    for name in streams {
        if test == Some(*name) {
            findings.push(send(sink, name, destination(name), patient.config.stream(name)).await);
        } else if scarce {
            findings.push(permission(patient, name));
        }
    }
    findings
}

/// What a destination is, and whether records are made as it takes them.
fn stream(
    name: &StreamName,
    destination: &str,
    settings: &StreamConfig,
    answer: Result<Description, Failure>,
) -> Vec<Finding> {
    let subject = format!("stream {name}");
    let seen = match answer {
        Ok(seen) => seen,
        Err(failure) => {
            let advice = match failure.trouble {
                Trouble::Missing => format!(
                    "create the delivery stream {destination}, or set stream.{name}.delivery_stream"
                ),
                Trouble::Denied => "check credentials and the policy (doctor --policy)".to_owned(),
                Trouble::Throttled
                | Trouble::Unreachable
                | Trouble::TimedOut
                | Trouble::Faulty
                | Trouble::TooLarge
                | Trouble::Refused => "try again; events are kept meanwhile".to_owned(),
            };
            return vec![Finding::failure(subject, failure.message, advice)];
        }
    };
    let choice = choose(settings, &seen);
    if seen.kind == DestinationKind::Withheld {
        let says = format!(
            "these credentials may not ask about {destination}; records are made by {}: {}",
            choice.word(),
            choice.reason
        );
        let advice = "allow firehose:DescribeDeliveryStream (doctor --policy), or set `aggregate`";
        return vec![Finding::warning(subject, says, advice)];
    }
    let misfits = misfits(settings, &seen);
    if !misfits.is_empty() {
        let warning = |misfit: Misfit| Finding::warning(&subject, misfit.says, misfit.advice);
        return misfits.into_iter().map(warning).collect();
    }
    let says = format!("{destination} is there, aggregate is {}: {}", choice.word(), choice.reason);
    vec![Finding::ok(subject, says)]
}

/// Only a put proves that a put is allowed. The running agent may have made one.
fn permission(patient: &Patient, name: &StreamName) -> Finding {
    let subject = format!("permission {name}");
    let streams = patient.agent.iter().flat_map(|agent| &agent.streams);
    let seen = streams.into_iter().find(|stream| stream.stream == name.as_str());
    if let Some(denied) = seen.map(|stream| &stream.upload).filter(|state| state.state == "denied")
    {
        let advice = "allow firehose:PutRecordBatch (doctor --policy)";
        return Finding::failure(subject, denied.reason.clone(), advice);
    }
    if let Some(at) = seen.and_then(|stream| stream.last_success) {
        let age = at.elapsed().unwrap_or_default().as_secs_f64().floor();
        return Finding::ok(subject, format!("the agent delivered {} ago", human::age(age)));
    }
    let advice = format!("--send-test-event {name} proves it, with an event that arrives");
    Finding::warning(subject, "firehose:PutRecordBatch is not proven", advice)
}

/// Delivers one event.
async fn send(
    sink: &dyn Sink,
    name: &StreamName,
    destination: Arc<str>,
    settings: &StreamConfig,
) -> Finding {
    let subject = format!("test event {name}");
    let time = humantime::format_rfc3339_millis(SystemTime::now());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let event = serde_json::json!({
        "message": "test event of `standpipe doctor`", "host": host, "time": time.to_string(),
    });
    let mut data = event.to_string().into_bytes();
    data.extend_from_slice(&settings.delimiter);
    let ends = vec![data.len()];
    let timeout = attempt_timeout(data.len());
    let call = Call { destination, records: Records { data, ends }, timeout };
    let advice = "check the policy (doctor --policy) and the delivery stream";
    match sink.deliver(call).await.as_deref() {
        Ok([Fate::Delivered]) => Finding::ok(subject, "it was taken"),
        Ok([Fate::Retry { code, message, .. } | Fate::Refused { code, message }]) => {
            Finding::failure(subject, format!("{code}: {message}"), advice)
        }
        Ok(fates) => {
            let says = format!("one record was answered by {} results", fates.len());
            Finding::failure(subject, says, "is this Firehose? check `endpoint_url`")
        }
        Err(failure) => Finding::failure(subject, failure.message.clone(), advice),
    }
}
