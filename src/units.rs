//! Durations as Go writes them, and sizes in bytes.

use std::time::Duration;

/// Why a duration or a size is refused; says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// It is not written as a duration.
    #[error("a duration is wanted, such as 100ms, 5s, 1m30s or 1.5h (units: ns us ms s m h)")]
    NotADuration,
    /// It is a duration below zero.
    #[error("the duration may not be negative")]
    Negative,
    /// It is longer than Go's durations can be: some 292 years.
    #[error("the duration is too long; the longest is 292 years")]
    TooLong,
    /// It is not written as a size.
    #[error("a size in bytes is wanted, such as 1048576, 512KiB, 64MiB or 1GiB (whole numbers)")]
    NotASize,
    /// It is more than 64 bits can hold.
    #[error("the size does not fit in 64 bits")]
    TooLarge,
}

/// The units of a duration, in nanoseconds. Where one is the beginning of
/// another the longer one stands first. Both letters that print as µ count.
const DURATION_UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
];

const SIZE_UNITS: [(&str, u64); 3] = [
    ("KiB", 1024),
    ("MiB", 1024 * 1024),
    ("GiB", 1024 * 1024 * 1024),
];

/// Go's longest duration.
const DURATION_MAX_NS: u128 = i64::MAX as u128;

/// Digits of a fraction that are looked at: the rest is below a nanosecond in
/// any unit.
const FRACTION_DIGITS_MAX: usize = 15;

/// Reads a duration as Go does: numbers with units, one after another, each
/// with a fraction if need be; or `0`.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    if let Some(rest) = text.strip_prefix('-') {
        // Go takes `-0`, which is not below zero.
        return match duration_unsigned(rest)? {
            Duration::ZERO => Ok(Duration::ZERO),
            _ => Err(UnitError::Negative),
        };
    }
    duration_unsigned(text.strip_prefix('+').unwrap_or(text))
}

/// The same, where one below zero counts as zero.
pub fn duration_or_zero(text: &str) -> Result<Duration, UnitError> {
    match duration(text) {
        Err(UnitError::Negative) => Ok(Duration::ZERO),
        result => result,
    }
}

fn duration_unsigned(text: &str) -> Result<Duration, UnitError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(UnitError::NotADuration);
    }
    let mut rest = text;
    let mut total_ns = 0_u128;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(UnitError::NotADuration);
        }
        let (unit_ns, after) = DURATION_UNITS
            .into_iter()
            .find_map(|(unit, ns)| Some((ns, after.strip_prefix(unit)?)))
            .ok_or(UnitError::NotADuration)?;
        total_ns += whole_ns(whole, unit_ns)? + fraction_ns(fraction, unit_ns);
        if total_ns > DURATION_MAX_NS {
            return Err(UnitError::TooLong);
        }
        rest = after;
    }
    u64::try_from(total_ns)
        .map(Duration::from_nanos)
        .map_err(|_| UnitError::TooLong)
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn whole_ns(digits: &str, unit_ns: u128) -> Result<u128, UnitError> {
    if digits.is_empty() {
        return Ok(0);
    }
    // Digits only: the one way to fail is a number beyond 64 bits.
    let number: u64 = digits.parse().map_err(|_| UnitError::TooLong)?;
    Ok(u128::from(number) * unit_ns)
}

fn fraction_ns(digits: &str, unit_ns: u128) -> u128 {
    let (mut number, mut scale) = (0_u128, 1_u128);
    for digit in digits.bytes().take(FRACTION_DIGITS_MAX) {
        number = number * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    number * unit_ns / scale
}

/// Reads a size: a whole number of bytes, or of `KiB`, `MiB`, `GiB`.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let (digits, unit) = split_digits(text);
    if digits.is_empty() {
        return Err(UnitError::NotASize);
    }
    let factor = match unit {
        "" => 1,
        _ => SIZE_UNITS
            .into_iter()
            .find_map(|(name, factor)| (name == unit).then_some(factor))
            .ok_or(UnitError::NotASize)?,
    };
    let number: u64 = digits.parse().map_err(|_| UnitError::TooLarge)?;
    number.checked_mul(factor).ok_or(UnitError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ns) in [
            ("0", 0),
            ("-0", 0),
            ("+0", 0),
            ("0s", 0),
            ("-0s", 0),
            ("7ns", 7),
            ("8us", 8_000),
            ("8\u{b5}s", 8_000),
            ("8\u{3bc}s", 8_000),
            ("100ms", 100_000_000),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("2h1ms", 7_200_001_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("0.0000000019s", 1),
            ("0.33333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
        for (text, error) in [
            ("", UnitError::NotADuration),
            ("+", UnitError::NotADuration),
            ("-", UnitError::NotADuration),
            ("5", UnitError::NotADuration),
            ("s", UnitError::NotADuration),
            (".s", UnitError::NotADuration),
            ("5 s", UnitError::NotADuration),
            ("5s ", UnitError::NotADuration),
            ("1m30", UnitError::NotADuration),
            ("5d", UnitError::NotADuration),
            ("5S", UnitError::NotADuration),
            ("1e3s", UnitError::NotADuration),
            ("-5s", UnitError::Negative),
            ("9223372036854775808ns", UnitError::TooLong),
            ("2562048h", UnitError::TooLong),
            ("99999999999999999999h", UnitError::TooLong),
            ("2562047h2562047h", UnitError::TooLong),
        ] {
            assert_eq!(duration(text), Err(error), "{text}");
        }
    }

    #[test]
    fn durations_below_zero() {
        assert_eq!(duration_or_zero("-5s"), Ok(Duration::ZERO));
        assert_eq!(duration_or_zero("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration_or_zero("-5"), Err(UnitError::NotADuration));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4831838208", 4_831_838_208),
            ("3KiB", 3072),
            ("64MiB", 64 << 20),
            ("2GiB", 2 << 30),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, error) in [
            ("", UnitError::NotASize),
            ("MiB", UnitError::NotASize),
            ("-1", UnitError::NotASize),
            ("1.5MiB", UnitError::NotASize),
            ("64MB", UnitError::NotASize),
            ("64mib", UnitError::NotASize),
            ("64 MiB", UnitError::NotASize),
            ("18446744073709551616", UnitError::TooLarge),
            ("17179869184GiB", UnitError::TooLarge),
        ] {
            assert_eq!(size(text), Err(error), "{text}");
        }
    }
}
