//! Credentials that fail or hang: nothing was sent, whatever the SDK calls it.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_firehose::config::Region;

use super::*;
use crate::limits::ATTEMPT_TIMEOUT_BASE;
use crate::sink::firehose::Firehose;
use crate::sink::{Call, Records, Sink as _};

/// A sink whose credentials come from there, and whose endpoint nobody listens on.
fn sink(provider: impl ProvideCredentials + 'static) -> Firehose {
    let options: Options = toml::Table::new().try_into().unwrap();
    let builder = client::harden(aws_sdk_firehose::Config::builder(), options.connect_timeout)
        .region(Region::from_static("us-east-1"))
        .endpoint_url("http://127.0.0.1:9")
        .credentials_provider(provider);
    let made = Made { client: Client::from_conf(builder.build()), at: Instant::now() };
    Firehose { connection: Connection { options, client: Mutex::new(Some(made)) } }
}

async fn deliver(sink: &Firehose) -> Failure {
    let records = Records { data: b"x".to_vec(), ends: vec![1] };
    let call = Call { destination: "s".into(), records, timeout: ATTEMPT_TIMEOUT_BASE };
    sink.deliver(call).await.unwrap_err()
}

#[tokio::test]
async fn without_credentials_nothing_is_sent_and_access_is_denied() {
    let sink = sink(provide_credentials_fn(|| async {
        Err::<Credentials, _>(CredentialsError::not_loaded("nobody"))
    }));
    let failure = deliver(&sink).await;
    assert_eq!((failure.trouble, failure.ambiguous), (Trouble::Denied, false), "{failure}");
    assert!(failure.message.contains("nobody"), "{failure}");
}

/// Several calls at once wait one after the other for the same credentials; each of them has to know
/// before its attempt is given up.
#[tokio::test(start_paused = true)]
async fn credentials_that_hang_are_no_service_that_hangs() {
    let sink = sink(provide_credentials_fn(std::future::pending));
    let began = Instant::now();
    let failures = tokio::join!(deliver(&sink), deliver(&sink), deliver(&sink));
    for failure in [failures.0, failures.1, failures.2] {
        println!("{failure}");
        assert_eq!((failure.trouble, failure.ambiguous), (Trouble::Denied, false), "{failure}");
    }
    assert!(began.elapsed() < ATTEMPT_TIMEOUT_BASE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_credentials_are_of_no_use_is_made_anew_now_and_then() {
    let sink = sink(provide_credentials_fn(|| async {
        Err::<Credentials, _>(CredentialsError::not_loaded("nobody"))
    }));
    let held = || async { sink.connection.client.lock().await.clone() };
    deliver(&sink).await;
    assert!(held().await.is_some(), "it is young");
    tokio::time::advance(CLIENT_RENEWAL_INTERVAL + Duration::from_secs(1)).await;
    deliver(&sink).await;
    assert!(held().await.is_none());
}

/// Another stream has found that out first, and the client is a new one.
#[tokio::test(start_paused = true)]
async fn only_the_client_that_failed_is_made_anew() {
    let sink = sink(provide_credentials_fn(std::future::pending));
    let failed = sink.connection.client.lock().await.clone().unwrap();
    tokio::time::advance(CLIENT_RENEWAL_INTERVAL * 2).await;
    let newer = Made { at: Instant::now(), ..failed.clone() };
    *sink.connection.client.lock().await = Some(newer);
    sink.connection.renew(&failed).await;
    assert!(sink.connection.client.lock().await.is_some());
}
