//! Names as Firehose gives them: `NAME/YYYY/MM/dd/HH/NAME-1-YYYY-MM-dd-HH-MM-SS-UUID`, in UTC.

use std::path::PathBuf;
use std::time::SystemTime;

/// A point in time as paths spell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// `YYYY/MM/dd/HH`
    pub(super) hour: PathBuf,
    /// `YYYY-MM-dd-HH-MM-SS`
    second: String,
}

impl Stamp {
    /// The stamp of a point in time.
    pub(super) fn of(time: SystemTime) -> Self {
        let text = humantime::format_rfc3339_seconds(time).to_string();
        let mut parts = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
        let parts: [&str; 6] = std::array::from_fn(|_| parts.next().unwrap_or("00"));
        Self { hour: parts.iter().take(4).collect(), second: parts.join("-") }
    }

    /// The name of a file that is begun then.
    pub(super) fn file_name(&self, destination: &str, random: u128) -> String {
        format!("{destination}-1-{}-{}", self.second, uuid(random))
    }
}

/// A random UUID (version 4).
fn uuid(random: u128) -> String {
    let bits = random & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
    let mut text = String::with_capacity(36);
    for (at, digit) in format!("{bits:032x}").chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn names_are_those_of_firehose() {
        let stamp = Stamp::of(UNIX_EPOCH + Duration::from_secs(1_709_164_799));
        assert_eq!(stamp.hour.to_str(), Some("2024/02/28/23"));
        let name = stamp.file_name("orders", u128::MAX);
        assert_eq!(name, "orders-1-2024-02-28-23-59-59-ffffffff-ffff-4fff-bfff-ffffffffffff");
        let name = stamp.file_name("orders", 0);
        assert_eq!(name, "orders-1-2024-02-28-23-59-59-00000000-0000-4000-8000-000000000000");
    }
}
