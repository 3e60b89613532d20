//! Points in time as the protocol writes them.

use prost_types::Timestamp;

/// Seconds since 1970 of 0001-01-01T00:00:00Z, the least a protobuf
/// timestamp may be, and Go's zero time: "not given".
pub const SECONDS_MIN: i64 = -62_135_596_800;
/// Seconds since 1970 of 9999-12-31T23:59:59Z.
pub const SECONDS_MAX: i64 = 253_402_300_799;

/// Parses RFC 3339, strictly: `2025-01-02T03:04:05[.123…](Z|±hh:mm)`, but with
/// a comma too before the fraction, as Go and ISO 8601 have it. Digits of the fraction past the ninth are dropped. `None` for anything
/// else, and for what is not in the years 0001 to 9999 UTC.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let year = digits(bytes, 0, 4)?;
    let month = digits(bytes, 5, 2)?;
    let day = digits(bytes, 8, 2)?;
    let hour = digits(bytes, 11, 2)?;
    let minute = digits(bytes, 14, 2)?;
    let second = digits(bytes, 17, 2)?;
    let punctuation = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if punctuation.iter().any(|&(at, byte)| bytes[at] != byte) {
        return None;
    }
    let date_fits = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !date_fits || hour > 23 || minute > 59 || second > 59 {
        return None;
    }

    let mut at = 19;
    let mut nanos = 0;
    if let Some(b'.' | b',') = bytes.get(at) {
        let fraction = &bytes[at + 1..];
        let len = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if len == 0 {
            return None;
        }
        let padded = fraction[..len].iter().chain(std::iter::repeat(&b'0'));
        for digit in padded.take(9) {
            nanos = nanos * 10 + i32::from(digit - b'0');
        }
        at += 1 + len;
    }

    let offset = match bytes.get(at)? {
        b'Z' if bytes.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == at + 6 && bytes[at + 3] == b':' => {
            let (hours, minutes) = (digits(bytes, at + 1, 2)?, digits(bytes, at + 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };

    let seconds =
        days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    (SECONDS_MIN..=SECONDS_MAX)
        .contains(&seconds)
        .then_some(Timestamp { seconds, nanos })
}

fn digits(bytes: &[u8], at: usize, count: usize) -> Option<i64> {
    bytes.get(at..at + count)?.iter().try_fold(0, |value, b| {
        b.is_ascii_digit().then(|| value * 10 + i64::from(b - b'0'))
    })
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, counted in
/// years that begin with March, so that a leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_clients_send() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            (
                "2015-05-07T01:29:51.123456789123Z",
                1_430_962_191,
                123_456_789,
            ),
            ("2015-05-07T01:29:51.5Z", 1_430_962_191, 500_000_000),
            ("2015-05-07T01:29:51,25Z", 1_430_962_191, 250_000_000),
            ("2015-05-07T03:29:51+02:00", 1_430_962_191, 0),
            ("2015-05-06T20:59:51-04:30", 1_430_962_191, 0),
            ("2015-05-08T01:28:51+23:59", 1_430_962_191, 0),
            ("1600-02-29T00:00:00Z", -11_670_998_400, 0),
            ("0001-01-01T00:00:00Z", SECONDS_MIN, 0),
            ("9999-12-31T23:59:59Z", SECONDS_MAX, 0),
        ] {
            assert_eq!(
                parse_rfc3339(text),
                Some(Timestamp { seconds, nanos }),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "2015-05-07T01:29:51",
            "2015-05-07 01:29:51Z",
            "2015-05-07T01:29:51z",
            "2015-05-07T01:29:51.Z",
            "2015-05-07T01:29:51,Z",
            "2015-05-07T01:29:51.,5Z",
            "2015-05-07T01:29:51;5Z",
            "2015-05-07T01:29:60Z",
            "2015-02-29T01:29:51Z",
            "2015-04-31T01:29:51Z",
            "2015-06-31T01:29:51Z",
            "2015-01-32T01:29:51Z",
            "1900-02-29T01:29:51Z",
            "2015-13-07T01:29:51Z",
            "2015-05-07T24:00:00Z",
            "2015-05-07T01:29:51+0200",
            "2015-05-07T01:29:51+02:60",
            "2015-05-07T01:29:51+24:00",
            "2015-05-07T01:29:51+02-00",
            "2015-05-07T01:29:51+02:00x",
            "2015-05-07T01:29:51+02:0",
            "2015-05-07T01:29:51+",
            "2015-05-07T01:29:51Zx",
            "0000-12-31T23:59:59Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2015-05-0é",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn agrees_with_prost_types() {
        for seconds in (SECONDS_MIN..=SECONDS_MAX).step_by(86_399 * 97) {
            let timestamp = Timestamp { seconds, nanos: 7 };
            assert_eq!(parse_rfc3339(&timestamp.to_string()), Some(timestamp));
        }
    }
}
