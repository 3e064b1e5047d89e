//! `DescribeDeliveryStream`, in our words.

use aws_sdk_firehose::config::http::HttpResponse;
use aws_sdk_firehose::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_firehose::operation::describe_delivery_stream::{
    DescribeDeliveryStreamError, DescribeDeliveryStreamOutput,
};
use aws_sdk_firehose::types::{
    DeliveryStreamDescription, DestinationDescription, ExtendedS3DestinationDescription,
    ProcessingConfiguration, Processor,
};
use base64_simd::STANDARD;

use super::classify;
use crate::sink::Failure;
use crate::sink::description::{Description, DestinationKind, Step};

/// What `AppendDelimiterToRecord` appends unless it is told, and how a configuration writes it.
const NEWLINE: &str = "\n";
const NEWLINE_WRITTEN: &str = "\\n";

type Answer =
    Result<DescribeDeliveryStreamOutput, SdkError<DescribeDeliveryStreamError, HttpResponse>>;

/// What was answered to a question that was signed, or not. That these credentials may not ask is an answer, and not a passing one.
pub(super) fn description(answer: Answer, signed: bool) -> Result<Description, Failure> {
    let output = match answer {
        Ok(output) => output,
        Err(error) if may_not_ask(&error) => {
            return Ok(Description::of(DestinationKind::Withheld));
        }
        Err(error) => return Err(classify::failure(&error, signed)),
    };
    let stream = output.delivery_stream_description;
    Ok(stream.map_or_else(|| Description::of(DestinationKind::Unknown), |stream| facts(&stream)))
}

fn may_not_ask(error: &SdkError<DescribeDeliveryStreamError, HttpResponse>) -> bool {
    let code = error.as_service_error().and_then(|error| error.code());
    matches!(
        code,
        Some("AccessDenied" | "AccessDeniedException" | "NotAuthorized" | "UnauthorizedOperation")
    )
}

fn facts(stream: &DeliveryStreamDescription) -> Description {
    let unknown = || Description::of(DestinationKind::Unknown);
    let mut description = stream.destinations.first().map_or_else(unknown, destination);
    let source = stream.delivery_stream_type.as_str();
    if source != "DirectPut" {
        description.steps.insert(0, Step::ForeignSource(source.to_owned()));
    }
    description
}

fn destination(one: &DestinationDescription) -> Description {
    // A stream to S3 is described twice; the extended form says more.
    if let Some(s3) = &one.extended_s3_destination_description {
        return Description { kind: DestinationKind::S3, steps: s3_steps(s3) };
    }
    let of = |kind, processing: &Option<ProcessingConfiguration>| Description {
        kind,
        steps: processors(processing.as_ref()),
    };
    if let Some(redshift) = &one.redshift_destination_description {
        of(DestinationKind::Redshift, &redshift.processing_configuration)
    } else if let Some(search) = &one.amazonopensearchservice_destination_description {
        of(DestinationKind::OpenSearch, &search.processing_configuration)
    } else if let Some(search) = &one.amazon_open_search_serverless_destination_description {
        of(DestinationKind::OpenSearch, &search.processing_configuration)
    } else if let Some(search) = &one.elasticsearch_destination_description {
        of(DestinationKind::OpenSearch, &search.processing_configuration)
    } else if let Some(splunk) = &one.splunk_destination_description {
        let raw = splunk.hec_endpoint_type.as_ref().is_some_and(|kind| kind.as_str() == "Raw");
        let kind = if raw { DestinationKind::SplunkRaw } else { DestinationKind::SplunkEvent };
        of(kind, &splunk.processing_configuration)
    } else if let Some(http) = &one.http_endpoint_destination_description {
        of(DestinationKind::HttpEndpoint, &http.processing_configuration)
    } else if let Some(iceberg) = &one.iceberg_destination_description {
        of(DestinationKind::Iceberg, &iceberg.processing_configuration)
    } else if let Some(snowflake) = &one.snowflake_destination_description {
        of(DestinationKind::Snowflake, &snowflake.processing_configuration)
    } else if let Some(s3) = &one.s3_destination_description {
        let steps = compression(s3.compression_format.as_str()).into_iter().collect();
        Description { kind: DestinationKind::S3, steps }
    } else {
        Description::of(DestinationKind::Unknown)
    }
}

fn s3_steps(s3: &ExtendedS3DestinationDescription) -> Vec<Step> {
    let mut steps = processors(s3.processing_configuration.as_ref());
    let conversion = s3.data_format_conversion_configuration.as_ref();
    // Where it is configured it is on, unless it says that it is not.
    if conversion.is_some_and(|conversion| conversion.enabled != Some(false)) {
        steps.push(Step::Convert);
    }
    let partitioning = s3.dynamic_partitioning_configuration.as_ref();
    if partitioning.is_some_and(|partitioning| partitioning.enabled == Some(true)) {
        steps.push(Step::Partition);
    }
    steps.extend(compression(s3.compression_format.as_str()));
    steps
}

fn compression(format: &str) -> Option<Step> {
    (format != "UNCOMPRESSED").then(|| Step::Compress(format.to_owned()))
}

fn processors(processing: Option<&ProcessingConfiguration>) -> Vec<Step> {
    let enabled = processing.filter(|processing| processing.enabled != Some(false));
    let processors = enabled.and_then(|processing| processing.processors.as_deref());
    processors.unwrap_or_default().iter().map(step).collect()
}

fn step(processor: &Processor) -> Step {
    match processor.r#type.as_str() {
        "Lambda" => Step::Lambda,
        "MetadataExtraction" => Step::Extract,
        "AppendDelimiterToRecord" => Step::Append(match parameter(processor, "Delimiter") {
            None | Some(NEWLINE_WRITTEN) => NEWLINE.to_owned(),
            Some(delimiter) => delimiter.to_owned(),
        }),
        "RecordDeAggregation" if parameter(processor, "SubRecordType") == Some("DELIMITED") => {
            let written = parameter(processor, "Delimiter").unwrap_or_default();
            let decoded = STANDARD.decode_to_vec(written).ok();
            let delimiter = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            Step::DeaggregateDelimited(delimiter.unwrap_or_else(|| written.to_owned()))
        }
        "RecordDeAggregation" => Step::DeaggregateJson,
        other => Step::Other(other.to_owned()),
    }
}

fn parameter<'a>(processor: &'a Processor, name: &str) -> Option<&'a str> {
    let parameters = processor.parameters.as_deref().unwrap_or_default();
    let found = parameters.iter().find(|parameter| parameter.parameter_name.as_str() == name);
    found.map(|parameter| parameter.parameter_value.as_str())
}
