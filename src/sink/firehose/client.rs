//! The SDK's client, with every default that could hurt set by hand.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::retry::RetryConfig;
use aws_sdk_firehose::config::timeout::TimeoutConfig;
use aws_sdk_firehose::config::{
    Builder, Config, Credentials as Pair, IdentityCache, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};

use super::body;
use super::options::{Credentials, Options};
use crate::limits::{
    CLIENT_TIMEOUT_EXTRA, CONNECTION_IDLE_MAX, CREDENTIALS_WITHIN, FIREHOSE_CALL_BYTES_MAX,
    FIREHOSE_RECORDS_MAX, attempt_timeout,
};
use crate::sink::{Failure, Trouble};

/// Where an endpoint of one's own is, for the signature, if nobody says.
const REGION_OF_NO_IMPORTANCE: &str = "us-east-1";

/// Makes a client. Fails while no region can be found; credentials are looked up by the calls.
pub(super) async fn connect(options: &Options) -> Result<Client, Failure> {
    let builder = match options.credentials {
        Credentials::Chain => from_default_chain(options).await,
        Credentials::Local => {
            let region = options.region.clone().map(Region::new);
            let pair = Pair::new("local", "local", None, None, "local");
            Config::builder().region(region).credentials_provider(pair)
        }
    };
    let mut builder = harden(builder, options.connect_timeout);
    if let Some(url) = &options.endpoint_url {
        builder = builder.endpoint_url(url);
    }
    let config = builder.clone().build();
    if config.region().is_some() {
        return Ok(Client::from_conf(config));
    }
    if options.endpoint_url.is_some() {
        let region = Region::from_static(REGION_OF_NO_IMPORTANCE);
        return Ok(Client::from_conf(builder.region(region).build()));
    }
    Err(Failure {
        trouble: Trouble::Denied,
        ambiguous: false,
        message: "no region is known: set `region` in the sink's table, AWS_REGION, or the region \
                  of the profile"
            .to_owned(),
    })
}

async fn from_default_chain(options: &Options) -> Builder {
    Builder::from(&from_environment(options).await)
}

/// What the AWS default chain finds, with what the options say over it.
pub(super) async fn from_environment(options: &Options) -> SdkConfig {
    let mut loader = aws_config::defaults(behavior());
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    loader.load().await
}

/// Defaults of one day, chosen by hand: a newer SDK must not change what an agent does.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// No repetition, no opinion about slow uploads, a limit on every wait, no connection that was idle
/// for long.
pub(super) fn harden(builder: Builder, connect_timeout: Duration) -> Builder {
    let largest = body::bytes_max(FIREHOSE_CALL_BYTES_MAX, FIREHOSE_RECORDS_MAX);
    let attempt_timeout = attempt_timeout(largest) + CLIENT_TIMEOUT_EXTRA;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(connect_timeout)
        .operation_attempt_timeout(attempt_timeout)
        .operation_timeout(attempt_timeout)
        .build();
    builder
        .behavior_version(behavior())
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts)
        .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_WITHIN).build())
        .http_client(http_client(connect_timeout))
}

/// The SDK's own HTTP client, but for the idle time of its connections. The pool belongs to the
/// connector, so there is one for all calls.
fn http_client(connect_timeout: Duration) -> SharedHttpClient {
    use std::sync::OnceLock;

    use aws_smithy_runtime_api::client::http::HttpConnectorSettings;

    let connector = OnceLock::new();
    http_client_fn(move |_, _| {
        let build = || {
            let settings = HttpConnectorSettings::builder().connect_timeout(connect_timeout);
            SharedHttpConnector::new(
                Connector::builder()
                    .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                    .connector_settings(settings.build())
                    .proxy_config(ProxyConfig::from_env())
                    .pool_idle_timeout(CONNECTION_IDLE_MAX)
                    .build(),
            )
        };
        connector.get_or_init(build).clone()
    })
}
