//! Stream names, parsed once at the edge so that no later code checks them again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::STREAM_NAME_BYTES_MAX;

/// The name of a stream: 1 to 64 of `[a-zA-Z0-9_.-]`, and neither `.` nor `..`.
///
/// Firehose allows exactly these characters in delivery stream names
/// (`CreateDeliveryStream`, `DeliveryStreamName`), and no such name can leave a directory, so
/// `dir.join(name)` is safe by type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

/// Why some bytes are no stream name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a stream name is 1 to 64 of the characters a-z A-Z 0-9 _ . - and neither \".\" nor \"..\""
)]
pub struct InvalidStreamName;

impl StreamName {
    /// Parses the bytes of a name.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidStreamName> {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if bytes.is_empty()
            || bytes.len() > STREAM_NAME_BYTES_MAX
            || bytes == b"."
            || bytes == b".."
            || !bytes.iter().all(allowed)
        {
            return Err(InvalidStreamName);
        }
        match std::str::from_utf8(bytes) {
            Ok(name) => Ok(Self(name.into())),
            Err(_) => Err(InvalidStreamName),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamName {
    type Err = InvalidStreamName;

    fn from_str(name: &str) -> Result<Self, InvalidStreamName> {
        Self::from_bytes(name.as_bytes())
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsRef<str> for StreamName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        for bad in ["", ".", "..", "a/b", "a b", "a\0", "é", "STANDPIPE/2"] {
            assert_eq!(StreamName::from_str(bad), Err(InvalidStreamName), "{bad:?}");
        }
        assert!(StreamName::from_bytes(&[b'a'; 65]).is_err());
        for good in ["a", "...", "Orders_1.x-y", &"a".repeat(64)] {
            let name = StreamName::from_str(good).unwrap();
            assert_eq!(
                (name.as_str(), name.as_ref(), name.to_string().as_str()),
                (good, good, good)
            );
        }
    }
}
