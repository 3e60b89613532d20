//! The checker checked: a kernel, an output or a loop around the driver that does
//! one thing wrong. The oracle must see each of these.

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A read does not reach the driver.
    LosesRead,
    /// It does twice.
    RepeatsRead,
    /// The halves of a read are swapped.
    SwapsHalves,
    /// A read brings what another client wrote.
    MixesStreams,
    /// More is buffered than may be.
    ReadsOn,
    /// The driver is not told that a stream has ended.
    ForgetsEnd,
    /// At the end of the grace what is in the sockets is not read any more.
    EndsEarly,
    /// The end of the grace is slept through.
    SleepsThroughGrace,
    /// After SIGTERM it waits for an output that takes nothing.
    WaitsForOutput,
    /// Once nobody is to be waited for, the output is never given up.
    NeverGivesUp,
    /// Of clients with unfinished headers it is not told that they have written.
    HidesReadiness,
    /// After a stop who is late is not looked at once more.
    SkipsLastLook,
    /// Who looks at a stream is taken to be behind for ever.
    HoldsBackForEver,
    /// A listener closes before those who wait are accepted.
    ClosesEarly,
    /// No descriptors are kept back for the output.
    KeepsNoSpare,
    /// A message that went out whole is sent again.
    RepeatsMessage,
    /// After a cut the message goes on where it stopped.
    ResumesMessage,
    /// A message is taken for delivered, and is not.
    SkipsMessage,
    /// The outcome of one message is told of another one.
    MixesOutcomes,
    /// A byte in the middle of a message is another.
    SpoilsMessage,
    /// A message that was given up is told to be delivered.
    ForgetsLoss,
    /// A file has less than was said to be written to it.
    LiesAboutWrite,
    /// A far end loses a message that it has said to be safe.
    ForgetsSafe,
}

impl Broken {
    pub const ALL: [Self; 23] = [
        Self::LosesRead,
        Self::RepeatsRead,
        Self::SwapsHalves,
        Self::MixesStreams,
        Self::ReadsOn,
        Self::ForgetsEnd,
        Self::EndsEarly,
        Self::SleepsThroughGrace,
        Self::WaitsForOutput,
        Self::NeverGivesUp,
        Self::HidesReadiness,
        Self::SkipsLastLook,
        Self::HoldsBackForEver,
        Self::ClosesEarly,
        Self::KeepsNoSpare,
        Self::RepeatsMessage,
        Self::ResumesMessage,
        Self::SkipsMessage,
        Self::MixesOutcomes,
        Self::SpoilsMessage,
        Self::ForgetsLoss,
        Self::LiesAboutWrite,
        Self::ForgetsSafe,
    ];
}
