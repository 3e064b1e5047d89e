//! The request body: `{"DeliveryStreamName":"…","Records":[{"Data":"<base64>"},…]}`.

use base64_simd::STANDARD;

use crate::sink::Records;

const HEAD: &[u8] = b"{\"DeliveryStreamName\":";
const RECORDS: &[u8] = b",\"Records\":[";
const RECORD: &[u8] = b"{\"Data\":\"";
const RECORD_END: &[u8] = b"\"}";
const TAIL: &[u8] = b"]}";

/// Room for a stream's name, quoted, and for what stands around the records.
const FRAME_BYTES_MAX: usize = 512;

/// How large the body of a call can be.
pub(super) fn bytes_max(data_bytes: usize, records: usize) -> usize {
    // Each record may end in an incomplete group of three bytes.
    let base64 = data_bytes.div_ceil(3) * 4 + records * 4;
    base64 + records * (RECORD.len() + RECORD_END.len() + 1) + FRAME_BYTES_MAX
}

/// Builds the body in one buffer of the right size.
pub(super) fn encode(stream: &str, records: &Records) -> Vec<u8> {
    let mut body = Vec::with_capacity(bytes_max(records.data.len(), records.len()));
    body.extend_from_slice(HEAD);
    // Names need no escapes; should one ever, it is escaped.
    body.extend_from_slice(serde_json::Value::from(stream).to_string().as_bytes());
    body.extend_from_slice(RECORDS);
    for (index, record) in records.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(RECORD);
        STANDARD.encode_append(record, &mut body);
        body.extend_from_slice(RECORD_END);
    }
    body.extend_from_slice(TAIL);
    body
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(list: &[Vec<u8>]) -> Records {
        let mut records = Records::default();
        for record in list {
            records.data.extend_from_slice(record);
            records.ends.push(records.data.len());
        }
        records
    }

    proptest! {
        #[test]
        fn the_body_is_what_the_service_reads_and_never_larger_than_announced(
            list in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
            stream in "[a-zA-Z0-9_.-]{1,64}",
        ) {
            let records = records(&list);
            let body = encode(&stream, &records);
            prop_assert!(body.len() <= bytes_max(records.data.len(), records.len()));
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(&json["DeliveryStreamName"], &stream);
            let data: Vec<Vec<u8>> = json["Records"]
                .as_array()
                .unwrap()
                .iter()
                .map(|record| STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap())
                .collect();
            prop_assert_eq!(data, list);
        }
    }
}
