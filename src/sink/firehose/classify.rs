//! What an error of the SDK means: by type, code and status, never by its sentence.

use std::error::Error;
use std::time::SystemTime;

use aws_sdk_firehose::config::http::HttpResponse;
use aws_sdk_firehose::error::{ConnectorError, ProvideErrorMetadata, SdkError};
use aws_sdk_firehose::types::PutRecordBatchResponseEntry;

use super::clock;
use crate::sink::{Failure, Fate, Trouble};

/// What became of one record.
pub(super) fn fate(entry: PutRecordBatchResponseEntry) -> Fate {
    let PutRecordBatchResponseEntry { record_id, error_code, error_message, .. } = entry;
    match (record_id, error_code) {
        (Some(_), None) => Fate::Delivered,
        (_, Some(code)) => Fate::Retry {
            trouble: if is_throttling(&code) { Trouble::Throttled } else { Trouble::Faulty },
            code,
            message: error_message.unwrap_or_default(),
        },
        (None, None) => Fate::Retry {
            trouble: Trouble::Faulty,
            code: "NoRecordId".to_owned(),
            message: "the service confirmed nothing and said no reason".to_owned(),
        },
    }
}

/// What the failure of a call means, where `signed` says whether the call has come so far that
/// something of it may have been sent.
pub(super) fn failure<E>(error: &SdkError<E, HttpResponse>, signed: bool) -> Failure
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let (trouble, ambiguous) = match error {
        // Nothing was sent.
        SdkError::ConstructionFailure(_) => (Trouble::Refused, false),
        // Credentials that hang: the SDK has a time-out for them whose error it keeps to itself.
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) if !signed => {
            (Trouble::Denied, false)
        }
        SdkError::TimeoutError(_) => (Trouble::TimedOut, true),
        SdkError::DispatchFailure(dispatch) => {
            let connector = dispatch.as_connector_error();
            unsent(connector, connector.is_some_and(ConnectorError::is_timeout))
        }
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            answered(status, service.err().code())
        }
        // An answer that nobody can read.
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            if status < 300 { (Trouble::Faulty, true) } else { answered(status, None) }
        }
        _ => (Trouble::Faulty, true),
    };
    let no_credentials = !signed && matches!(error, SdkError::DispatchFailure(_));
    let message = if no_credentials { without_credentials(error) } else { sentence(error) };
    Failure { trouble, ambiguous, message }
}

/// There was no answer. Without a connection nothing was sent; else nobody knows.
fn unsent(error: Option<&(impl Error + 'static)>, timed_out: bool) -> (Trouble, bool) {
    let Some(error) = error else { return (Trouble::Unreachable, true) };
    let client = find::<hyper_util::client::legacy::Error>(error);
    if client.is_some_and(hyper_util::client::legacy::Error::is_connect) {
        return (Trouble::Unreachable, false);
    }
    (if timed_out { Trouble::TimedOut } else { Trouble::Unreachable }, true)
}

/// Whether the call failed for want of credentials that the service knows. Not where a signature is
/// refused: that may be the clock, for which the client learns to make up.
pub(super) fn needs_other_credentials<E>(error: &SdkError<E, HttpResponse>, signed: bool) -> bool
where
    E: Error + ProvideErrorMetadata + 'static,
{
    if let SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) = error {
        return !signed;
    }
    matches!(
        error.as_service_error().and_then(ProvideErrorMetadata::code),
        Some(
            "ExpiredToken"
                | "ExpiredTokenException"
                | "InvalidClientTokenId"
                | "MissingAuthenticationToken"
                | "MissingAuthenticationTokenException"
                | "UnrecognizedClientException"
        )
    )
}

/// There was an answer with a status other than success.
fn answered(status: u16, code: Option<&str>) -> (Trouble, bool) {
    match code {
        Some("ResourceNotFoundException") => return (Trouble::Missing, false),
        // A stream that takes nothing directly, or whose key is gone: for a person to mend.
        Some("InvalidSourceException" | "InvalidKMSResourceException") => {
            return (Trouble::Denied, false);
        }
        Some(code) if is_throttling(code) => return (Trouble::Throttled, false),
        Some(code) if is_denial(code) => return (Trouble::Denied, false),
        Some(_) | None => {}
    }
    match status {
        401 | 403 | 407 => (Trouble::Denied, false),
        404 => (Trouble::Missing, false),
        408 => (Trouble::TimedOut, true),
        413 => (Trouble::TooLarge, false),
        429 | 503 => (Trouble::Throttled, false),
        // "If there is an internal server error or a timeout, the write might have completed."
        500.. => (Trouble::Faulty, true),
        _ => (Trouble::Refused, false),
    }
}

fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "ServiceUnavailableException"
            | "ServiceUnavailable"
            | "ThrottlingException"
            | "ThrottledException"
            | "Throttling"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "RequestLimitExceeded"
            | "LimitExceededException"
            | "BandwidthLimitExceeded"
            | "TooManyRequestsException"
            | "ProvisionedThroughputExceededException"
            | "SlowDown"
    )
}

fn is_denial(code: &str) -> bool {
    matches!(
        code,
        "AccessDenied"
            | "AccessDeniedException"
            | "AuthFailure"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "NotAuthorized"
            | "OptInRequired"
            | "RequestExpired"
            | "RequestTimeTooSkewed"
            | "SignatureDoesNotMatch"
            | "UnauthorizedOperation"
            | "UnrecognizedClientException"
    )
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref::<E>())
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The service's own words, else the error with its causes, each said once.
fn sentence<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: Error + ProvideErrorMetadata + 'static,
{
    if let Some(service) = error.as_service_error()
        && let Some(code) = service.code()
    {
        let words = service.message().unwrap_or_default();
        let separator = if words.is_empty() { "" } else { ": " };
        let hint = error.raw_response().and_then(|answer| {
            clock::hint(code, words, answer, SystemTime::now()).map(|hint| format!(" ({hint})"))
        });
        return format!("{code}{separator}{words}{}", hint.unwrap_or_default());
    }
    let text = causes(chain(error));
    match error.raw_response() {
        Some(response) => format!("{text} (HTTP status {})", response.status().as_u16()),
        None => text,
    }
}

/// Why a call was not signed, in one line: the SDK lists where it has looked, a line each, below two
/// layers that speak of sending.
fn without_credentials(error: &(dyn Error + 'static)) -> String {
    let text = causes(chain(error).skip(2));
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    format!("no credentials: {}", lines.join("; ").replace(":;", ":"))
}

/// Errors with their causes, each said once.
fn causes<'a>(errors: impl Iterator<Item = &'a (dyn Error + 'static)>) -> String {
    let mut text = String::new();
    for part in errors.map(ToString::to_string) {
        if !text.contains(&part) {
            let separator = if text.is_empty() { "" } else { ": " };
            text.push_str(separator);
            text.push_str(&part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_before_statuses() {
        for (status, code, trouble, ambiguous) in [
            (400, Some("ResourceNotFoundException"), Trouble::Missing, false),
            (400, Some("InvalidArgumentException"), Trouble::Refused, false),
            (400, Some("InvalidKMSResourceException"), Trouble::Denied, false),
            (400, Some("ExpiredTokenException"), Trouble::Denied, false),
            (400, Some("InvalidSignatureException"), Trouble::Denied, false),
            (400, Some("RequestTimeTooSkewed"), Trouble::Denied, false),
            (400, Some("AuthFailure"), Trouble::Denied, false),
            (400, Some("ThrottlingException"), Trouble::Throttled, false),
            (500, Some("ServiceUnavailableException"), Trouble::Throttled, false),
            (500, Some("InternalFailure"), Trouble::Faulty, true),
            (503, None, Trouble::Throttled, false),
            (504, None, Trouble::Faulty, true),
            (403, None, Trouble::Denied, false),
            (404, None, Trouble::Missing, false),
            (408, None, Trouble::TimedOut, true),
            (413, None, Trouble::TooLarge, false),
            (301, None, Trouble::Refused, false),
        ] {
            assert_eq!(answered(status, code), (trouble, ambiguous), "{status} {code:?}");
        }
    }

    #[test]
    fn a_record_is_delivered_only_with_an_id_and_without_an_error() {
        let entry = |id: Option<&str>, code: Option<&str>| {
            let entry = PutRecordBatchResponseEntry::builder()
                .set_record_id(id.map(str::to_owned))
                .set_error_code(code.map(str::to_owned))
                .build();
            fate(entry)
        };
        assert_eq!(entry(Some("1"), None), Fate::Delivered);
        for (id, code, expected) in [
            (None, Some("ServiceUnavailableException"), Trouble::Throttled),
            (None, Some("InternalFailure"), Trouble::Faulty),
            (Some("1"), Some("InternalFailure"), Trouble::Faulty),
            (None, None, Trouble::Faulty),
        ] {
            let Fate::Retry { trouble, .. } = entry(id, code) else { panic!("{id:?} {code:?}") };
            assert_eq!(trouble, expected);
        }
    }
}
