//! Durations as Go writes them: `100ms`, `1h30m`, `1.5s`.

use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The units, longest name first where one begins like another.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("h", 3600 * NANOS_PER_SECOND),
];

/// Parses a duration that is not negative; `None` if it is none. A number without unit is none either,
/// except `0`.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let digits_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (whole, after) = rest.split_at(digits_end);
        let (fraction, after) = match after.strip_prefix('.') {
            None => ("", after),
            Some(after) => {
                after.split_at(after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len()))
            }
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit_length, unit_nanos) = UNITS
            .iter()
            .filter(|(unit, _)| after.starts_with(unit))
            .max_by_key(|(unit, _)| unit.len())
            .map(|(unit, nanos)| (unit.len(), *nanos))?;

        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        nanos = nanos.checked_add(whole.checked_mul(unit_nanos)?)?;
        // What is finer than a nanosecond is cut off, one digit at a time.
        let mut place = unit_nanos;
        for digit in fraction.bytes() {
            place /= 10;
            nanos = nanos.checked_add(u64::from(digit - b'0') * place)?;
        }
        rest = &after[unit_length..];
    }
    Some(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5 * NANOS_PER_SECOND),
            ("100ms", 100_000_000),
            ("1h30m", 5400 * NANOS_PER_SECOND),
            ("1.5s", 1_500_000_000),
            (".5m", 30 * NANOS_PER_SECOND),
            ("2us3ns", 2_003),
            ("+1m", 60 * NANOS_PER_SECOND),
            ("10m0s", 600 * NANOS_PER_SECOND),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn refused() {
        for text in ["", "5", "s", "-1s", "1d", "1 s", ".s", "1s2", "99999999999999h", "++1s", "+"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
