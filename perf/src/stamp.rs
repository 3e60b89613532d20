//! Timestamps in lines: when a line was written, for the sink to read,
//! whatever a butler put around the line.

/// What a timestamp begins with; twenty digits and a blank follow.
const MARK: &[u8] = b"stamp=";
const DIGITS: usize = 20;

/// Bytes of a timestamp in a line.
pub const LEN: usize = MARK.len() + DIGITS + 1;

/// Writes a timestamp to the front of `line`, which must have the room.
pub fn put(line: &mut [u8], now_ns: u64) {
    let (mark, rest) = line.split_at_mut(MARK.len());
    mark.copy_from_slice(MARK);
    let mut number = now_ns;
    for digit in rest[..DIGITS].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    rest[DIGITS] = b' ';
}

/// Finds timestamps in pieces of a stream, wherever it is cut.
#[derive(Debug, Default)]
pub struct Finder {
    rest: Vec<u8>,
}

impl Finder {
    /// Tells `found` every timestamp that `data` completes.
    pub fn push(&mut self, data: &[u8], mut found: impl FnMut(u64)) {
        self.rest.extend_from_slice(data);
        let mut at = 0;
        while let Some(begin) = position(&self.rest[at..], MARK).map(|it| it + at) {
            let digits = begin + MARK.len();
            let Some(number) = self.rest.get(digits..digits + DIGITS) else {
                at = begin;
                break;
            };
            if let Some(number) = std::str::from_utf8(number)
                .ok()
                .and_then(|it| it.parse().ok())
            {
                found(number);
            }
            at = digits;
        }
        // What is left may be the front of a mark, or of its number.
        let keep = (self.rest.len() - at).min(LEN);
        self.rest.drain(..self.rest.len() - keep);
    }
}

fn position(data: &[u8], what: &[u8]) -> Option<usize> {
    data.windows(what.len()).position(|it| it == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_however_it_is_cut() {
        let mut data = Vec::new();
        for number in [7, u64::MAX, 1_234_567_890_123] {
            let mut line = vec![b'x'; LEN];
            put(&mut line, number);
            data.extend_from_slice(b"stam stamp= before ");
            data.extend_from_slice(&line);
            data.extend_from_slice(b"after\n");
        }
        for size in 1..data.len() {
            let mut finder = Finder::default();
            let mut all = Vec::new();
            for piece in data.chunks(size) {
                finder.push(piece, |number| all.push(number));
            }
            assert_eq!(all, [7, u64::MAX, 1_234_567_890_123], "cut at {size}");
        }
    }
}
