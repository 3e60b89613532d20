//! What a far end that acknowledges says over one connection: late, several messages
//! at once, and sometimes what it must not.

use std::collections::VecDeque;
use std::io;

use butler::wire::ack;
use butler::wire::message::MessageView;
use rustix::io::Errno;

use crate::chance::Chance;
use crate::plan::Fault;

/// How late it says that something is safe, at most.
const LATE_MS_MAX: u64 = 4000;

/// See the module.
#[derive(Debug, Default)]
pub struct Answers {
    /// Whole messages that came, and where the next one begins.
    whole: u64,
    at: usize,
    /// So many of them are safe.
    safe: u64,
    /// What is said, and when.
    said: VecDeque<(u64, Said)>,
    /// The output has heard that so many are.
    pub heard: u64,
}

#[derive(Debug)]
enum Said {
    /// So many are safe, in these bytes of which some may have been heard.
    Frame(u64, Vec<u8>),
    /// What it must not say.
    Wrong(Vec<u8>),
    /// It has closed the connection.
    End,
}

impl Answers {
    /// More has come: all of it is that.
    pub fn take(&mut self, bytes: &[u8], now_ns: u64, hung: bool, chance: &mut Chance) {
        let before = self.whole;
        while let Ok(Some(view)) = MessageView::parse(&bytes[self.at..]) {
            self.at += view.len;
            self.whole += 1;
        }
        if self.whole == before {
            return;
        }
        self.safe = self.whole;
        let late = match hung {
            true => return,
            false if chance.is_allowed(Fault::Stalls) => chance.nanos(LATE_MS_MAX),
            false => chance.random.below(2),
        };
        // What is not said yet can be said together.
        let is_frame = matches!(self.said.back(), Some((_, Said::Frame(..))));
        if is_frame && self.said.len() > 1 && chance.random.one_in(2) {
            self.said.pop_back();
        }
        let last_ns = self.said.back().map_or(0, |it| it.0);
        let at_ns = last_ns.max(now_ns + late);
        let frame = Said::Frame(self.safe, ack::frame(self.safe, ""));
        self.said.push_back((at_ns, frame));
        if chance.happens(Fault::WrongAnswers, 8) {
            self.said
                .push_back((at_ns, Said::Wrong(self.wrong(chance))));
            self.said.push_back((at_ns, Said::End));
        } else if chance.happens(Fault::Cuts, 8) {
            self.said.push_back((at_ns, Said::End));
        }
    }

    fn wrong(&self, chance: &mut Chance) -> Vec<u8> {
        match chance.random.below(5) {
            0 => ack::frame(u64::MAX, ""),
            1 => ack::frame(self.safe - 1, ""),
            2 => ack::frame(self.safe, "there is no room"),
            3 => vec![0xff; 10],
            _ => vec![2, 0x12, 5],
        }
    }

    /// When there is something to hear.
    pub fn due_ns(&self) -> u64 {
        self.said.front().map_or(u64::MAX, |it| it.0)
    }

    /// The output hears some of it; 0 at the end.
    pub fn hear(&mut self, into: &mut [u8], now_ns: u64, chance: &mut Chance) -> io::Result<usize> {
        let Some((at_ns, said)) = self.said.front_mut() else {
            return Err(Errno::AGAIN.into());
        };
        if *at_ns > now_ns {
            return Err(Errno::AGAIN.into());
        }
        let bytes = match said {
            Said::End => return Ok(0),
            Said::Frame(_, bytes) | Said::Wrong(bytes) => bytes,
        };
        let len = match chance.is_allowed(Fault::ShortReads) {
            true => chance.random.size(1, bytes.len()),
            false => bytes.len(),
        };
        into[..len].copy_from_slice(&bytes[..len]);
        bytes.drain(..len);
        if bytes.is_empty()
            && let Some((_, Said::Frame(safe, _))) = self.said.pop_front()
        {
            self.heard = safe;
        }
        Ok(len)
    }

    /// The connection was cut: how many bytes of what came the far end has kept. It
    /// keeps what it has said to be safe.
    pub fn kept(&self, bytes: &[u8], forgets: bool, chance: &mut Chance) -> usize {
        let said = self.said.iter().filter_map(|(_, said)| match said {
            Said::Frame(safe, _) => Some(*safe),
            _ => None,
        });
        let safe = said.max().unwrap_or(0).max(self.heard);
        let least = safe - u64::from(forgets && safe > 0);
        let most = if forgets { least } else { self.whole };
        let kept = chance.random.within(least, most);
        let mut at = 0;
        for _ in 0..kept {
            let view = MessageView::parse(&bytes[at..]);
            at += view.unwrap().expect("it was whole").len;
        }
        at
    }
}
