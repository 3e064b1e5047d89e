//! Sink `firehose`: AWS Kinesis Firehose, `PutRecordBatch`.
//!
//! The SDK resolves, signs, sends and parses; it repeats nothing and serialises nothing. The body is
//! built once, by [`body`], which costs less than half of what the SDK's own serialisation does.

mod body;
mod classify;
mod client;
mod clock;
mod connection;
mod describe;
mod examine;
mod options;

use std::sync::Arc;

use aws_sdk_firehose::config::http::HttpRequest;
use aws_sdk_firehose::operation::put_record_batch::PutRecordBatchOutput;
use bytes::Bytes;

use self::connection::{Connection, Signed};
use self::options::{Credentials, Options};
use super::description::Description;
use super::{BoxFuture, Call, Failure, Fate, Kind, Limits, Sink, SinkConfig};
use crate::finding::Finding;
use crate::limits::{FIREHOSE_CALL_BYTES_MAX, FIREHOSE_RECORD_BYTES_MAX, FIREHOSE_RECORDS_MAX};

pub(super) const KIND: Kind =
    Kind { name: "firehose", parse: |options| Ok(Arc::new(options.try_into::<Options>()?)) };

/// A client of Firehose.
#[derive(Debug)]
struct Firehose {
    connection: Connection,
}

impl SinkConfig for Options {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn build(&self) -> BoxFuture<'_, anyhow::Result<Arc<dyn Sink>>> {
        let options = self.clone();
        Box::pin(async move {
            let sink: Arc<dyn Sink> = Arc::new(Firehose { connection: Connection::new(options) });
            Ok(sink)
        })
    }

    fn policy(&self, destinations: &[&str], asks: bool) -> Vec<serde_json::Value> {
        let region = self.region.as_deref().unwrap_or("*");
        let arn = |name: &&str| format!("arn:aws:firehose:{region}:*:deliverystream/{name}");
        let resources: Vec<_> = destinations.iter().map(arn).collect();
        let statement = |sid: &str, action: &str| {
            serde_json::json!({
                "Sid": sid, "Effect": "Allow", "Action": action, "Resource": resources,
            })
        };
        let put = statement("StandpipeDelivers", "firehose:PutRecordBatch");
        let ask = statement("StandpipeChoosesAggregation", "firehose:DescribeDeliveryStream");
        if asks { vec![put, ask] } else { vec![put] }
    }
}

impl Sink for Firehose {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn limits(&self) -> Limits {
        Limits {
            records_max: FIREHOSE_RECORDS_MAX,
            record_bytes_max: FIREHOSE_RECORD_BYTES_MAX,
            call_bytes_max: FIREHOSE_CALL_BYTES_MAX,
        }
    }

    fn encoded_bytes(&self, data_bytes: usize, records: usize) -> usize {
        body::bytes_max(data_bytes, records)
    }

    fn deliver(&self, call: Call) -> BoxFuture<'_, Result<Vec<Fate>, Failure>> {
        Box::pin(self.put(call))
    }

    fn describe(&self, destination: Arc<str>) -> BoxFuture<'_, Result<Description, Failure>> {
        Box::pin(self.ask(destination))
    }

    fn examine(&self, destination: Arc<str>) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async move { examine::examine(self.connection.options(), &destination).await })
    }

    /// An endpoint that checks no signatures belongs to no account.
    fn shared_account(&self) -> Option<String> {
        let Options { region, endpoint_url, profile, credentials, .. } = self.connection.options();
        let place = [region, endpoint_url, profile].map(|part| part.as_deref().unwrap_or("-"));
        (*credentials == Credentials::Chain).then(|| place.join(" "))
    }
}

impl Firehose {
    async fn ask(&self, destination: Arc<str>) -> Result<Description, Failure> {
        let by = connection::signed_by();
        let made = self.connection.client(by).await?;
        let signed = Signed::default();
        let question =
            made.client.describe_delivery_stream().delivery_stream_name(destination.as_ref());
        let question = question.customize().interceptor(signed.clone());
        let answer = signed.answer(by, question.send()).await?;
        describe::description(answer, signed.yet())
    }

    async fn put(&self, call: Call) -> Result<Vec<Fate>, Failure> {
        let by = connection::signed_by();
        let made = self.connection.client(by).await?;
        let Call { destination, records, .. } = call;
        let body = Bytes::from(body::encode(&destination, &records));
        // From here on the encoded form is all that is needed.
        drop(records);
        let signed = Signed::default();
        let call = made
            .client
            .put_record_batch()
            .delivery_stream_name(destination.as_ref())
            .set_records(Some(Vec::new()))
            .customize()
            .mutate_request(move |request| replace_body(request, &body))
            .interceptor(signed.clone());
        let error = match signed.answer(by, call.send()).await? {
            Ok(output) => return Ok(fates(output)),
            Err(error) => error,
        };
        if classify::needs_other_credentials(&error, signed.yet()) {
            self.connection.renew(&made).await;
        }
        Err(classify::failure(&error, signed.yet()))
    }
}

/// Puts our body in the place of the SDK's, before the request is signed.
fn replace_body(request: &mut HttpRequest, body: &Bytes) {
    request.headers_mut().insert("content-length", body.len().to_string());
    *request.body_mut() = body.clone().into();
}

/// One fate per result, in order. Whether that is one per record is for the uploader to see.
fn fates(output: PutRecordBatchOutput) -> Vec<Fate> {
    output.request_responses.into_iter().map(classify::fate).collect()
}
