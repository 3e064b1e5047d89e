//! `[sink.NAME]` with `kind = "firehose"`.

use std::time::Duration;

use serde::Deserialize;

use crate::config::value::Period;
use crate::limits::CONNECT_TIMEOUT;

/// Where Firehose is and who asks. What is not given comes from the AWS default chain: environment,
/// shared files, container and instance metadata.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Options {
    pub(super) region: Option<String>,
    pub(super) endpoint_url: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) credentials: Credentials,
    pub(super) connect_timeout: Duration,
}

/// Who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Credentials {
    /// What the AWS default chain finds.
    #[default]
    Chain,
    /// The fixed pair `local` / `local`, which opens nothing: for endpoints that do not check
    /// signatures, such as Standpipe's own. The default chain is not asked.
    Local,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    region: Option<String>,
    endpoint_url: Option<String>,
    profile: Option<String>,
    #[serde(default)]
    credentials: Credentials,
    connect_timeout: Option<Period>,
}

/// Why options that can be read make no sense.
#[derive(Debug, thiserror::Error)]
enum Senseless {
    #[error("endpoint_url begins with http:// or https://, it is {0:?}")]
    EndpointUrl(String),
    #[error("credentials = \"local\" is for an endpoint of your own: endpoint_url is needed")]
    LocalWithoutEndpoint,
    #[error("credentials = \"local\" and profile exclude each other")]
    LocalWithProfile,
    #[error("connect_timeout is longer than nothing")]
    NoConnectTimeout,
}

impl TryFrom<Written> for Options {
    type Error = Senseless;

    fn try_from(written: Written) -> Result<Self, Senseless> {
        let Written { region, endpoint_url, profile, credentials, connect_timeout } = written;
        if let Some(url) = &endpoint_url {
            let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
            if host.is_none_or(str::is_empty) {
                return Err(Senseless::EndpointUrl(url.clone()));
            }
        }
        if credentials == Credentials::Local {
            if endpoint_url.is_none() {
                return Err(Senseless::LocalWithoutEndpoint);
            }
            if profile.is_some() {
                return Err(Senseless::LocalWithProfile);
            }
        }
        let connect_timeout = connect_timeout.map_or(CONNECT_TIMEOUT, |period| period.0);
        if connect_timeout.is_zero() {
            return Err(Senseless::NoConnectTimeout);
        }
        Ok(Self { region, endpoint_url, profile, credentials, connect_timeout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Options, String> {
        let table: toml::Table = text.parse().unwrap();
        table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn nothing_has_to_be_given() {
        let options = read("").unwrap();
        assert_eq!(options.credentials, Credentials::Chain);
        assert_eq!(options.connect_timeout, CONNECT_TIMEOUT);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        for (text, reason) in [
            ("endpoint_url = \"127.0.0.1:5000\"", "begins with http"),
            ("endpoint_url = \"http://\"", "begins with http"),
            ("credentials = \"local\"", "endpoint_url is needed"),
            ("credentials = \"none\"", "chain"),
            ("acces_key = \"x\"", "unknown field"),
            ("connect_timeout = \"0s\"", "longer than nothing"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
