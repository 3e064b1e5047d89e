//! Numbers as people read them.

use std::time::Duration;

use bytesize::ByteSize;

/// `1,234,567`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.2 GiB`.
pub(super) fn bytes(n: u64) -> String {
    ByteSize::b(n).display().iec().to_string()
}

/// `3m 12s`: two units are enough to know what is meant.
pub(super) fn age(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    let shown = if whole < Duration::from_secs(10) {
        Duration::from_millis(u64::try_from(whole.as_millis()).unwrap_or(u64::MAX))
    } else {
        Duration::from_secs(whole.as_secs())
    };
    let text = humantime::format_duration(shown).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let counts = [0, 999, 1000, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1024, 3 << 29].map(bytes), ["0 B", "1.0 KiB", "1.5 GiB"]);
        let ages = [0.0, 1.25, 192.9, 90_061.0, -1.0].map(age);
        assert_eq!(ages, ["0s", "1s 250ms", "3m 12s", "1day 1h", "0s"]);
    }
}
