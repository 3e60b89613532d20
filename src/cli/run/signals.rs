//! Signals while a command runs: they are the command's, and ours.

use std::io;
use std::process::ExitStatus;

use rustix::process::{Pid, kill_process};
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::options::Common;
use crate::cli::session::{self, Failure};
use crate::{Butler, Report};

/// The signals that a child is to get instead of us.
pub(super) struct ChildSignals {
    signals: [(rustix::process::Signal, Signal); 6],
    /// Kept so that its handler is there.
    _file_limit: Signal,
    /// The same. If we were started with SIGCHLD ignored, the kernel would
    /// tell nobody how the child ended.
    _child: Signal,
    /// SIGTERM and SIGINT so far.
    ends: u32,
}

impl ChildSignals {
    pub fn new() -> io::Result<Self> {
        use rustix::process::Signal as Number;
        let listen = |number: Number| {
            signal(SignalKind::from_raw(number.as_raw())).map(|signal| (number, signal))
        };
        Ok(Self {
            signals: [
                listen(Number::TERM)?,
                listen(Number::INT)?,
                listen(Number::HUP)?,
                listen(Number::QUIT)?,
                listen(Number::USR1)?,
                listen(Number::USR2)?,
            ],
            _file_limit: session::survive_file_limit()?,
            _child: signal(SignalKind::child())?,
            ends: 0,
        })
    }

    /// Opens the butler, unless a signal comes that asks for the end.
    pub async fn open(&mut self, common: &Common) -> Result<Butler, Failure> {
        session::keep_secrets(common);
        let mut opening = std::pin::pin!(Butler::open(common.config.clone()));
        loop {
            tokio::select! {
                opened = &mut opening => return opened.map_err(Failure::from),
                number = self.next() => {
                    if number != rustix::process::Signal::USR1
                        && number != rustix::process::Signal::USR2
                    {
                        return Err(Failure::Interrupted);
                    }
                }
            }
        }
    }

    /// The next signal; counts those that ask for the end.
    async fn next(&mut self) -> rustix::process::Signal {
        let number = std::future::poll_fn(|cx| {
            for (number, signal) in &mut self.signals {
                if signal.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await;
        if matches!(
            number,
            rustix::process::Signal::TERM | rustix::process::Signal::INT
        ) {
            self.ends += 1;
        }
        number
    }

    /// Waits for the child, and hands it the signals that come. The second
    /// SIGTERM or SIGINT ends both of us at once.
    pub async fn wait_for(&mut self, child: &mut Child, butler: &Butler) -> io::Result<ExitStatus> {
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32));
        loop {
            let number = tokio::select! {
                status = child.wait() => return status,
                number = self.next() => number,
            };
            if self.ends >= 2 {
                butler.abort();
                child.start_kill()?;
                return child.wait().await;
            }
            if let Some(pid) = pid
                && let Err(error) = kill_process(pid, number)
            {
                log::warn!("can't pass a signal on: {error}");
            }
        }
    }

    /// Waits for the butler's end once the child has ended.
    pub async fn wait_for_end(&mut self, butler: &Butler) -> Result<Report, crate::Error> {
        let mut ended = std::pin::pin!(butler.wait());
        loop {
            tokio::select! {
                result = &mut ended => return result,
                number = self.next() => match number {
                    rustix::process::Signal::USR1 => session::log_statistics(butler),
                    rustix::process::Signal::TERM | rustix::process::Signal::INT
                        if self.ends >= 2 => {
                            butler.abort();
                        }
                    _ => {}
                },
            }
        }
    }
}
