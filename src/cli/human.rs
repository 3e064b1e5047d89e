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

/// `4,321` or `0.3`: a number per second.
pub(super) fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 9.95 {
        return format!("{per_second:.1}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    count(per_second.round() as u64)
}

/// `$0.03`, `$1,234.50`: cents are enough but for what costs less than ten of them.
pub(super) fn dollars(dollars: f64) -> String {
    if dollars > 0.0 && dollars < 0.1 {
        return format!("${dollars:.4}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let cents = (dollars * 100.0).round() as u64;
    format!("${}.{:02}", count(cents / 100), cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let counts = [0, 999, 1000, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1024, 3 << 29].map(bytes), ["0 B", "1.0 KiB", "1.5 GiB"]);
        assert_eq!([0.0, 0.25, 9.94, 4321.4].map(rate), ["0", "0.2", "9.9", "4,321"]);
        let prices = [0.0, 0.0123, 0.1, 1234.5].map(dollars);
        assert_eq!(prices, ["$0.00", "$0.0123", "$0.10", "$1,234.50"]);
        let ages = [0.0, 1.25, 192.9, 90_061.0, -1.0].map(age);
        assert_eq!(ages, ["0s", "1s 250ms", "3m 12s", "1day 1h", "0s"]);
    }
}
