//! The least IAM policy that a configuration needs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cli::output;
use crate::config::Config;
use crate::router::choice::depends_on_destination;

pub(super) fn print(config: &Config) -> anyhow::Result<()> {
    output::print_json(&policy(config))
}

/// Streams that are not configured go to delivery streams of their own names, which nobody knows in
/// advance: where there is no configured stream, the policy is for all delivery streams.
fn policy(config: &Config) -> Value {
    let mut wanted: BTreeMap<&str, (BTreeSet<&str>, bool)> = BTreeMap::new();
    for (name, stream) in &config.streams {
        let (destinations, asks) = wanted.entry(&stream.sink).or_default();
        destinations.insert(stream.delivery_stream.as_deref().unwrap_or(name.as_str()));
        *asks |= depends_on_destination(stream);
    }
    if wanted.is_empty() {
        let default = &config.stream_default;
        let all = (BTreeSet::from(["*"]), depends_on_destination(default));
        wanted.insert(&default.sink, all);
    }
    let statements = wanted.iter().flat_map(|(sink, (destinations, asks))| {
        let destinations: Vec<_> = destinations.iter().copied().collect();
        let sink = config.sinks.get(*sink);
        sink.map(|sink| sink.policy(&destinations, *asks)).unwrap_or_default()
    });
    json!({ "Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_text;

    fn of(streams: &str) -> Value {
        let text = format!(
            "data_dir = \"/tmp\"\n[sink.firehose]\nregion = \"eu-west-1\"\n\
             [sink.file]\npath = \"/tmp/out\"\n{streams}"
        );
        policy(&from_text("test", &text).unwrap().config)
    }

    #[test]
    fn the_policy_names_what_is_delivered_to_and_asks_only_where_that_is_needed() {
        let policy = of("[stream.default]\naggregate = \"lines\"\n\
                         [stream.a]\ndelivery_stream = \"a-prod\"\n[stream.b]\n\
                         [stream.c]\nsink = \"file\"\n");
        let arn = |name| format!("arn:aws:firehose:eu-west-1:*:deliverystream/{name}");
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements.len(), 1, "{policy}");
        assert_eq!(statements[0]["Action"], "firehose:PutRecordBatch");
        assert_eq!(statements[0]["Resource"], json!([arn("a-prod"), arn("b")]));
        let policy = of("[stream.a]\n");
        let asks = &policy["Statement"][1]["Action"];
        assert_eq!(asks, "firehose:DescribeDeliveryStream", "aggregate = \"auto\" asks: {policy}");
        assert_eq!(of("")["Statement"][0]["Resource"], json!([arn("*")]));
    }
}
