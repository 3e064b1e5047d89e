//! What `standpipe doctor` asks of the way to Firehose: who asks, where, and whether the clocks agree.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_firehose::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_firehose::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_firehose::error::BoxError;

use super::clock::{SKEW_MAX, Skew};
use super::options::{Credentials, Options};
use super::{client, describe};
use crate::finding::Finding;

/// A clock that is kept by anything differs by less.
const SKEW_EXPECTED_MAX: Duration = Duration::from_secs(30);

/// How long looking for credentials may take: the metadata services are asked one after the other.
const CREDENTIALS_MAX: Duration = Duration::from_secs(15);

/// Examines the way to a destination, with one call that changes nothing.
pub(super) async fn examine(options: &Options, destination: &str) -> Vec<Finding> {
    let mut findings = vec![credentials(options).await];
    let client = match client::connect(options).await {
        Ok(client) => client,
        Err(failure) => {
            let advice = "set `region` in the sink's table or AWS_REGION";
            findings.push(Finding::failure("region", failure.message, advice));
            return findings;
        }
    };
    let region = client.config().region().map_or("-", |region| region.as_ref());
    findings.push(Finding::ok("region", region));
    let seen = Seen::default();
    let question = client.describe_delivery_stream().delivery_stream_name(destination);
    let answer = question.customize().interceptor(seen.clone()).send().await;
    let here = SystemTime::now();
    let Some(date) = seen.date() else {
        let message = describe::description(answer, true).err().map(|failure| failure.message);
        let message = message.unwrap_or_else(|| "it answers without a date".to_owned());
        let advice = "check network, DNS, proxy and `endpoint_url`; events are kept meanwhile";
        findings.push(Finding::failure("endpoint", message, advice));
        return findings;
    };
    let endpoint = options.endpoint_url.as_deref().unwrap_or("the region's own");
    findings.push(Finding::ok("endpoint", format!("{endpoint}, it answers")));
    findings.push(clock(&date, here));
    findings
}

async fn credentials(options: &Options) -> Finding {
    let subject = "credentials";
    if options.credentials == Credentials::Local {
        return Finding::ok(subject, "the fixed pair local / local, for an endpoint of one's own");
    }
    let advice = "give the host a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a \
                  profile for the agent's user";
    let config = client::from_environment(options).await;
    let Some(provider) = config.credentials_provider() else {
        return Finding::failure(subject, "there is no place to look for them", advice);
    };
    match tokio::time::timeout(CREDENTIALS_MAX, provider.provide_credentials()).await {
        Ok(Ok(credentials)) => {
            // The provider's name is in the debug form alone.
            let shown = format!("{credentials:?}");
            let name =
                shown.split("provider_name: \"").nth(1).and_then(|rest| rest.split('"').next());
            let expiry = credentials.expiry().map_or_else(
                || "they do not expire".to_owned(),
                |at| format!("they expire at {}", humantime::format_rfc3339_seconds(at)),
            );
            let (name, key) = (name.unwrap_or("unknown"), credentials.access_key_id());
            Finding::ok(subject, format!("from {name}, key {key}, {expiry}"))
        }
        Ok(Err(error)) => {
            let error = anyhow::Error::from(error);
            Finding::failure(subject, format!("there are none: {error:#}"), advice)
        }
        Err(_elapsed) => {
            let says = format!("none were found within {} s", CREDENTIALS_MAX.as_secs());
            Finding::failure(subject, says, advice)
        }
    }
}

/// Compares the service's date, which counts whole seconds, with ours.
fn clock(date: &str, here: SystemTime) -> Finding {
    let Some(skew) = Skew::of(date, here) else {
        let says = format!("the service's date {date:?} cannot be read");
        return Finding::warning("clock", says, "compare the host's clock by hand");
    };
    let says = skew.to_string();
    let advice = "let chrony, systemd-timesyncd or the hypervisor keep the host's clock";
    if skew.by >= SKEW_MAX {
        return Finding::failure("clock", says + ": signatures are refused", advice);
    }
    if skew.by > SKEW_EXPECTED_MAX {
        return Finding::warning("clock", says, advice);
    }
    Finding::ok("clock", "agrees with the service's")
}

/// Notes the date of an answer, whatever the answer says.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Option<String>>>);

impl Seen {
    fn date(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Intercept for Seen {
    fn name(&self) -> &'static str {
        "date"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").map(str::to_owned);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    #[test]
    fn clocks_may_differ_a_little() {
        let date = "Wed, 25 Nov 2026 09:00:00 GMT";
        let there = humantime::parse_rfc3339("2026-11-25T09:00:00Z").unwrap();
        let seconds = Duration::from_secs;
        for (here, level, word) in [
            (there + seconds(30), Level::Ok, "agrees"),
            (there + seconds(31), Level::Warning, "31 s ahead of"),
            (there - seconds(299), Level::Warning, "299 s behind"),
            (there - seconds(300), Level::Failure, "refused"),
        ] {
            let finding = clock(date, here);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.says.contains(word), "{finding:?}");
        }
        assert_eq!(clock("yesterday", there).level, Level::Warning);
    }
}
