//! The checker checked: a virtual edge or output that does one thing wrong,
//! once. The oracle must see each of these.

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A read is not handed to the core.
    LosesRead,
    /// A read is handed to it twice.
    RepeatsRead,
    /// The halves of a read are swapped.
    SwapsHalves,
    /// A read is handed on for another stream.
    MixesStreams,
    /// It reads on when memory is short.
    ReadsOn,
    /// The core is not told that a stream has ended.
    ForgetsEnd,
    /// At the end of the grace what is in the sockets is not read any more.
    EndsEarly,
    /// The end of the grace is slept through.
    SleepsThroughGrace,
    /// After SIGTERM it waits for an output that takes nothing, with streams
    /// open that it can't read.
    WaitsForOutput,
    /// A message that went out whole is sent again.
    RepeatsMessage,
    /// After a cut the message goes on where it stopped.
    ResumesMessage,
    /// A message is taken for delivered, and is not.
    SkipsMessage,
    /// A byte in the middle of a message is another.
    SpoilsMessage,
    /// The core is not told that a bundle is lost.
    ForgetsLoss,
}

impl Broken {
    pub const ALL: [Self; 14] = [
        Self::LosesRead,
        Self::RepeatsRead,
        Self::SwapsHalves,
        Self::MixesStreams,
        Self::ReadsOn,
        Self::ForgetsEnd,
        Self::EndsEarly,
        Self::SleepsThroughGrace,
        Self::WaitsForOutput,
        Self::RepeatsMessage,
        Self::ResumesMessage,
        Self::SkipsMessage,
        Self::SpoilsMessage,
        Self::ForgetsLoss,
    ];
}
