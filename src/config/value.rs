//! Values as people write them: sizes like `"64MiB"`, durations like `"200ms"`. The options of
//! sources and sinks use them too.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

const SIZE_HELP: &str = "a size: a whole number of bytes, or text like \"64MiB\" or \"1.5GB\"";
const DURATION_HELP: &str = "a duration: text like \"200ms\", \"5s\" or \"1h 30m\"";
const SYNC_HELP: &str = "\"always\", or a duration like \"200ms\"";

/// A number of bytes. Reads `"64MiB"`, `"1GB"` (powers of 1000) and plain integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// In memory; a size that this machine cannot address becomes the largest it can.
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Written so that it reads back exactly: `64MiB` for a whole number of units, else the bytes.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match units.iter().find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SIZE_HELP)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
        let invalid = |_| E::invalid_value(de::Unexpected::Signed(bytes), &self);
        u64::try_from(bytes).map(Size).map_err(invalid)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        let invalid = |_| E::invalid_value(de::Unexpected::Str(text), &self);
        text.trim().parse::<ByteSize>().map(|size| Size(size.as_u64())).map_err(invalid)
    }
}

/// A length of time. Reads what humantime reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PeriodVisitor { help: DURATION_HELP })
    }
}

struct PeriodVisitor {
    help: &'static str,
}

impl Visitor<'_> for PeriodVisitor {
    type Value = Period;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.help)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Period, E> {
        let invalid = |_| E::invalid_value(de::Unexpected::Str(text), &self);
        humantime::parse_duration(text.trim()).map(Period).map_err(invalid)
    }
}

/// When written frames are synced: `"always"`, or at the latest after a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sync(pub Duration);

impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() { f.write_str("always") } else { Period(self.0).fmt(f) }
    }
}

impl Serialize for Sync {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sync {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SyncVisitor)
    }
}

struct SyncVisitor;

impl Visitor<'_> for SyncVisitor {
    type Value = Sync;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SYNC_HELP)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Sync, E> {
        if text == "always" {
            return Ok(Sync(Duration::ZERO));
        }
        PeriodVisitor { help: SYNC_HELP }.visit_str(text).map(|period| Sync(period.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: de::DeserializeOwned>(value: impl Into<toml::Value>) -> Result<T, String> {
        value.into().try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn sizes_are_integers_or_text_with_a_unit() {
        assert_eq!(read("64MiB"), Ok(Size(64 << 20)));
        assert_eq!(read("1.5 GB"), Ok(Size(1_500_000_000)));
        assert_eq!(read(4096), Ok(Size(4096)));
        for bad in ["", "64 apples", "-1MiB", "MiB"] {
            let error = read::<Size>(bad).unwrap_err();
            assert!(error.contains("\"64MiB\""), "{error}");
        }
        assert!(read::<Size>(-1).unwrap_err().contains("\"64MiB\""));
    }

    #[test]
    fn what_is_printed_reads_back() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, (1 << 20) + 1, 20 << 30, u64::MAX] {
            assert_eq!(read(Size(bytes).to_string()), Ok(Size(bytes)));
        }
        for text in ["1ms", "200ms", "1m 30s", "0s"] {
            let period: Period = read(text).unwrap();
            assert_eq!(read(period.to_string()), Ok(period));
        }
        assert_eq!(read("always"), Ok(Sync(Duration::ZERO)));
        assert_eq!(Sync(Duration::ZERO).to_string(), "always");
        assert_eq!(read("200ms"), Ok(Sync(Duration::from_millis(200))));
    }

    #[test]
    fn a_bad_duration_shows_an_example() {
        assert!(read::<Period>("soon").unwrap_err().contains("\"200ms\""));
        assert!(read::<Period>(5).unwrap_err().contains("\"200ms\""));
        let error = read::<Sync>("often").unwrap_err();
        assert!(error.contains("\"always\"") && error.contains("\"200ms\""), "{error}");
    }
}
