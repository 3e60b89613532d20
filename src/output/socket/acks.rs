//! What the far end says of the messages that were sent over one connection.

use crate::limits::ACK_TIMEOUT;
use crate::output::peer_text::PeerText;
use crate::wire::ack::{AckError, AckReader};

/// Why a connection whose messages are acknowledged is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum AckProblem {
    #[error("the far end has closed the connection, and not acknowledged all ({0} messages)")]
    Closed(usize),
    #[error("the far end takes no more: {0}")]
    Refused(PeerText),
    #[error("the far end acknowledges {now} messages, and did {before} before")]
    Back { before: u64, now: u64 },
    #[error("the far end acknowledges {now} messages, of {sent} that were sent")]
    Beyond { sent: u64, now: u64 },
    #[error("what the far end answers is none: {0}")]
    Frame(#[from] AckError),
    #[error("the far end has taken and acknowledged nothing for {} s", ACK_TIMEOUT.as_secs())]
    Silent,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Acks {
    reader: AckReader,
    /// Messages of the connection that are acknowledged.
    acknowledged: u64,
    /// When the far end was last heard of, or took something.
    alive_ns: u64,
}

/// What one frame says.
#[derive(Debug)]
pub(super) struct Said {
    /// So many more messages are safe.
    pub safe: usize,
    /// And no more of them are taken.
    pub refused: Option<AckProblem>,
}

impl Acks {
    /// A connection begins.
    pub fn begin(&mut self, now_ns: u64) {
        self.reader.clear();
        self.acknowledged = 0;
        self.alive_ns = now_ns;
    }

    /// The far end has taken something.
    pub fn note_taken(&mut self, now_ns: u64) {
        self.alive_ns = now_ns;
    }

    /// When it is taken for dead if it is not heard of, and takes nothing.
    pub fn due_ns(&self) -> u64 {
        self.alive_ns.saturating_add(ACK_TIMEOUT.as_nanos() as u64)
    }

    /// Room for what it says.
    pub fn space(&mut self) -> &mut [u8] {
        self.reader.space()
    }

    /// So many bytes of the space were said.
    pub fn filled(&mut self, len: usize) {
        self.reader.filled(len);
    }

    /// The next frame, if it is there, when so many messages wait for it.
    pub fn next_said(&mut self, now_ns: u64, waiting: usize) -> Result<Option<Said>, AckProblem> {
        let Some(frame) = self.reader.next_frame()? else {
            return Ok(None);
        };
        self.alive_ns = now_ns;
        let (before, now) = (self.acknowledged, frame.messages);
        let sent = before + waiting as u64;
        if now > sent {
            return Err(AckProblem::Beyond { sent, now });
        }
        let safe = now
            .checked_sub(before)
            .ok_or(AckProblem::Back { before, now })?;
        self.acknowledged = now;
        let refused = !frame.error.is_empty();
        Ok(Some(Said {
            safe: safe as usize,
            refused: refused.then(|| AckProblem::Refused(PeerText::new(&frame.error))),
        }))
    }
}
