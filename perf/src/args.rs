//! Values of options.

use std::time::Duration;

use lexopt::ValueExt;

use crate::Result;

/// The value that follows, with a name in the error.
pub fn value<T>(parser: &mut lexopt::Parser) -> Result<T>
where
    T: std::str::FromStr,
    T::Err: Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
{
    Ok(parser.value()?.parse()?)
}

/// Bytes: `300`, `16KiB`, `2MB`, `1.5GB`.
pub fn size(text: &str) -> Result<u64> {
    let digits = text
        .find(|it: char| !it.is_ascii_digit() && it != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("{text:?} has no unit that is known").into()),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is no size"))?;
    Ok((number * unit as f64) as u64)
}

/// One size, or the least and the largest: `16KiB-64KiB`.
pub fn size_range(text: &str) -> Result<(usize, usize)> {
    let (least, largest) = text.split_once('-').unwrap_or((text, text));
    let range = (size(least)? as usize, size(largest)? as usize);
    if range.0 == 0 || range.0 > range.1 {
        return Err(format!("{text:?} is no range of sizes").into());
    }
    Ok(range)
}

/// Seconds, perhaps with a fraction.
pub fn seconds(text: &str) -> Result<Duration> {
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is no time"))?;
    Ok(Duration::try_from_secs_f64(number)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("300").unwrap(), 300);
        assert_eq!(size("1.5GB").unwrap(), 1_500_000_000);
        assert_eq!(size_range("16KiB-64KiB").unwrap(), (16384, 65536));
        assert_eq!(size_range("128").unwrap(), (128, 128));
        assert!(size("4 parsecs").is_err());
        assert!(size_range("0").is_err());
        assert!(size_range("2-1").is_err());
    }
}
