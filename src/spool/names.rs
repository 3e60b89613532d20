//! What the files of a spool are called.

use std::ffi::OsStr;

/// What the name of a segment ends with.
const SEGMENT: &str = ".segment";
/// Numbers from here on are nobody's.
const NUMBER_END: u64 = u32::MAX as u64;

/// What a segment's file is called.
pub fn segment_name(number: u32) -> String {
    format!("{number:016x}{SEGMENT}")
}

/// The number of the segment that has that name.
pub fn segment_number(name: &OsStr) -> Option<u32> {
    let digits = name.to_str()?.strip_suffix(SEGMENT)?;
    let is_ours = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(digits, 16).ok()?;
    (is_ours && number < NUMBER_END).then_some(number as u32)
}
