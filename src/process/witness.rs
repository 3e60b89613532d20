//! A process that knows which signals our whole process group got.
//!
//! A signal to the group reaches our command by itself; one to us alone is to be
//! handed on to it. The kernel does not say which of the two it was. So there is
//! a small process in the same group to ask: it blocks all signals and looks
//! which of them wait for it. It was put into the group after us, and the kernel
//! signals those first that came last: when we have a signal, it has it as well.
//!
//! It also survives us, for a moment. A SIGKILL would have hit the command, were
//! we not in between: when we end without having sent the witness away, it kills
//! the command.
//!
//! It is forked before anything else is there, closes all that it inherits, and
//! then only makes system calls. Its name is not ours, so that who looks for
//! processes by name does not signal it with us.

use std::ffi::CStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg,
    socketpair,
};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::beginning;
use crate::edge::wake;

/// What it is called.
const NAME: &CStr = c"signal-witness";
/// A message with the command's descriptor; all others are questions.
const COMMAND: u8 = 0;
/// How long an answer may take: longer than a busy machine lets it wait, and so
/// short that a witness that was stopped does not keep a signal from the command.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Some signals.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignalSet(u64);

impl SignalSet {
    pub fn contains(self, signal: Signal) -> bool {
        self.0 >> (signal.as_raw() - 1) & 1 == 1
    }

    #[cfg(test)]
    pub fn of(signals: &[Signal]) -> Self {
        let mut set = Self::default();
        for signal in signals {
            set.insert(signal.as_raw());
        }
        set
    }

    fn insert(&mut self, number: i32) {
        self.0 |= 1 << (number - 1);
    }
}

/// The witness, as long as nothing has been asked of it.
#[derive(Debug)]
pub(crate) struct Witness {
    socket: OwnedFd,
    process: Process,
}

/// It ends with this.
#[derive(Debug)]
struct Process(OwnedFd);

impl Process {
    fn kill(&self) {
        // If it has ended already there is nothing to do.
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = waitid(WaitId::PidFd(self.0.as_fd()), WaitIdOptions::EXITED);
    }
}

impl Witness {
    /// Makes one. Nothing that it could take along should be there yet.
    pub fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // Between being forked and blocking signals it would have our handlers.
        let (all, mut found) = (all_signals(), all_signals());
        // SAFETY: it only reads the one set, and writes to the other.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut found) };
        // SAFETY: the child only makes system calls, and never returns.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            bear_witness(&theirs);
        }
        // Before the mask is set: the error is that of fork.
        let error = io::Error::last_os_error();
        // SAFETY: it only reads the set.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const found, ptr::null_mut()) };
        let pid = Pid::from_raw(pid).filter(|pid| pid.as_raw_nonzero().get() > 0);
        let process = pidfd_open(pid.ok_or(error)?, PidfdFlags::empty())?;
        Ok(Self {
            socket: ours,
            process: Process(process),
        })
    }

    /// Lets it be asked, on the runtime.
    pub fn listen(self) -> io::Result<Listening> {
        match wake::watch(self.socket, Interest::READABLE) {
            Ok(socket) => Ok(Listening {
                socket,
                asked: 0,
                process: self.process,
            }),
            Err((_, error)) => Err(error),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Listening {
    /// The first to be dropped: it is sent away, and kills nothing.
    process: Process,
    socket: AsyncFd<OwnedFd>,
    /// The number of the last question.
    asked: u8,
}

impl Listening {
    /// The signals that the group has got since the last answer; `None` if the
    /// witness says nothing.
    pub async fn ask(&mut self) -> Option<SignalSet> {
        self.asked = self.asked.checked_add(1).unwrap_or(COMMAND + 1);
        send(&self.socket, &[self.asked], SendFlags::NOSIGNAL).ok()?;
        tokio::time::timeout(ANSWER_TIMEOUT, self.answer())
            .await
            .ok()?
    }

    /// The answer to the last question, and with it any that came too late.
    async fn answer(&self) -> Option<SignalSet> {
        let mut signals = SignalSet::default();
        loop {
            let mut ready = self.socket.readable().await.ok()?;
            let mut answer = [0; Answer::LEN];
            match recv(self.socket.get_ref(), &mut answer, RecvFlags::empty()) {
                Ok((_, Answer::LEN)) => {
                    let answer = Answer::from_bytes(answer);
                    signals.0 |= answer.signals.0;
                    if answer.question == self.asked {
                        return Some(signals);
                    }
                }
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => return None,
            }
        }
    }

    /// It is not needed any more, and has ended by the time that this is
    /// dropped.
    pub fn send_away(&self) {
        self.process.kill();
    }

    /// Tells it what is to end with us.
    pub fn entrust(&self, command: Pid) -> io::Result<()> {
        let command = pidfd_open(command, PidfdFlags::empty())?;
        let fds = [command.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        let message = [IoSlice::new(&[COMMAND])];
        sendmsg(&self.socket, &message, &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// Do we lead our session? Its leader may be of a space of process numbers that
/// we don't see, and then has the number 0.
pub(crate) fn leads_session() -> bool {
    // SAFETY: both only ask the kernel for a number.
    unsafe { libc::getsid(0) == libc::getpid() }
}

/// Is the process in our group, whose number may be 0 in the same way?
pub(crate) fn is_in_our_group(process: Pid) -> bool {
    // SAFETY: both only ask the kernel for a number.
    unsafe { libc::getpgid(process.as_raw_nonzero().get()) == libc::getpgrp() }
}

struct Answer {
    question: u8,
    signals: SignalSet,
}

impl Answer {
    const LEN: usize = 9;

    fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [self.question; Self::LEN];
        bytes[1..].copy_from_slice(&self.signals.0.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let [question, signals @ ..] = bytes;
        Self {
            question,
            signals: SignalSet(u64::from_ne_bytes(signals)),
        }
    }
}

fn all_signals() -> libc::sigset_t {
    // SAFETY: all-zero is a valid value.
    let mut all = unsafe { mem::zeroed() };
    // SAFETY: it only writes to `all`.
    unsafe { libc::sigfillset(&raw mut all) };
    all
}

/// All that the witness does. It may only make system calls: its memory is a
/// copy of ours, in whatever state that was.
fn bear_witness(socket: &OwnedFd) -> ! {
    // SAFETY: the name is read, and copied.
    unsafe { libc::prctl(libc::PR_SET_NAME, NAME.as_ptr()) };
    // SAFETY: what follows does not look at the arguments.
    unsafe { beginning::show_as(NAME.to_bytes()) };
    // SAFETY: it reads a path. A directory may be removed, or unmounted.
    unsafe { libc::chdir(c"/".as_ptr()) };
    if close_all_but(socket) {
        let mut command = None;
        while answer_one(socket.as_fd(), &mut command) {}
        if let Some(command) = command {
            // It may have ended with us.
            let _ = pidfd_send_signal(command, Signal::KILL);
        }
    }
    // SAFETY: it ends the process, and runs nothing of it.
    unsafe { libc::_exit(0) }
}

fn close_all_but(socket: &OwnedFd) -> bool {
    let socket = socket.as_raw_fd() as libc::c_uint;
    let close = |first: libc::c_uint, last: libc::c_uint| {
        // SAFETY: this process uses none of them, and never returns to what
        // owns them.
        first > last || unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0
    };
    // It is never 0, unless we were started without stdin.
    (socket == 0 || close(0, socket - 1)) && close(socket + 1, libc::c_uint::MAX)
}

/// Waits for a message. False when there are no more.
fn answer_one(socket: BorrowedFd<'_>, command: &mut Option<OwnedFd>) -> bool {
    let mut readable = [rustix::event::PollFd::from_borrowed_fd(
        socket,
        rustix::event::PollFlags::IN,
    )];
    // All signals are blocked: nothing interrupts it.
    if rustix::event::poll(&mut readable, None).is_err() {
        return false;
    }
    let mut question = [COMMAND];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut message = [IoSliceMut::new(&mut question)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    match recvmsg(socket, &mut message, &mut ancillary, flags) {
        Ok(received) if received.bytes == 1 => {}
        _ => return false,
    }
    if let [COMMAND] = question {
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message {
                *command = fds.next();
            }
        }
        return true;
    }
    let [question] = question;
    let answer = Answer {
        question,
        signals: take_signals(),
    };
    send(socket, &answer.to_bytes(), SendFlags::NOSIGNAL).is_ok()
}

/// Those that wait for this process, which then don't any more.
fn take_signals() -> SignalSet {
    let all = all_signals();
    let now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut signals = SignalSet::default();
    loop {
        // SAFETY: it only reads the set and the time.
        let number = unsafe { libc::sigtimedwait(&raw const all, ptr::null_mut(), &raw const now) };
        if number <= 0 {
            return signals;
        }
        signals.insert(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::runtime::IoMode;
    use rustix::process::kill_process;

    #[test]
    fn tells_what_it_got() {
        let witness = Witness::new().unwrap();
        crate::start_with(IoMode::Epoll, async {
            let mut witness = witness.listen().unwrap();
            assert_eq!(witness.ask().await, Some(SignalSet::default()));
            let pid = std::fs::read_to_string(format!(
                "/proc/self/fdinfo/{}",
                witness.process.0.as_raw_fd()
            ))
            .unwrap();
            let pid = pid.lines().find_map(|line| line.strip_prefix("Pid:"));
            let pid = Pid::from_raw(pid.unwrap().trim().parse().unwrap()).unwrap();
            let sent = [Signal::TERM, Signal::INT, Signal::TSTP, Signal::USR1];
            for signal in sent {
                kill_process(pid, signal).unwrap();
            }
            assert_eq!(witness.ask().await, Some(SignalSet::of(&sent)));
            for _ in 0..300 {
                assert_eq!(witness.ask().await, Some(SignalSet::default()));
            }
            let read = |name: &str| {
                let path = format!("/proc/{}/{name}", pid.as_raw_nonzero());
                std::fs::read_to_string(path).unwrap()
            };
            assert_eq!(read("comm"), "signal-witness\n");
            #[cfg(target_env = "gnu")]
            assert_eq!(read("cmdline").trim_end_matches('\0'), "signal-witness");
            kill_process(pid, Signal::KILL).unwrap();
            assert_eq!(witness.ask().await, None);
        })
        .unwrap();
    }

    #[test]
    fn kills_the_command_if_it_is_not_sent_away() {
        let mut command = std::process::Command::new("sleep");
        let mut child = command.arg("1000").spawn().unwrap();
        let witness = Witness::new().unwrap();
        crate::start_with(IoMode::Epoll, async {
            let witness = witness.listen().unwrap();
            let pid = Pid::from_child(&child);
            witness.entrust(pid).unwrap();
            let Listening {
                socket,
                process: _process,
                ..
            } = witness;
            drop(socket);
            let status = child.wait().unwrap();
            assert_eq!(
                std::os::unix::process::ExitStatusExt::signal(&status),
                Some(libc::SIGKILL)
            );
        })
        .unwrap();
    }
}
