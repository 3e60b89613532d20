//! A child process: pinned to a core, watched with a deadline, and gone when
//! its owner is, even when that is killed.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process, pidfd_open, set_parent_process_death_signal,
};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::Timespec;
use serde_json::Value;

use crate::{Result, clock};

/// Lets a command run on one core, and not outlive this process.
pub fn confine(command: &mut Command, core: usize) {
    let pin = move || {
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(None, &cores)?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes two system calls and
    // does nothing else: it neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(pin);
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// All the CPU time it took, to its last breath.
    pub cpu: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
    reaped: bool,
}

impl Program {
    /// Starts it; what it says on stderr goes to a file in `dir`.
    pub fn start(
        name: &str,
        command: &mut Command,
        core: usize,
        dir: &std::path::Path,
    ) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        confine(command, core);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?);
        let mut child = command
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let stdout = child.stdout.take().ok_or("stdout is piped")?;
        let (sender, lines) = mpsc::channel();
        // It ends with the child. The lines must be taken off the pipe, so
        // that nobody blocks who says more than is listened to.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout)
                .lines()
                .map_while(std::result::Result::ok)
            {
                let _ = sender.send(line);
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            lines,
            log,
            reaped: false,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of JSON that it prints.
    pub fn report(&mut self, patience: Duration) -> Result<Value> {
        let line = self
            .lines
            .recv_timeout(patience)
            .map_err(|error| self.failure(&format!("told nothing: {error}")))?;
        Ok(serde_json::from_str(&line)?)
    }

    /// The same, for as long as another program runs, which it can't do
    /// without.
    pub fn report_beside(&mut self, other: &mut Self, patience: Duration) -> Result<Value> {
        let deadline = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => return Ok(serde_json::from_str(&line)?),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(error) => {
                    let what = format!("told nothing: {error}");
                    return Err(self.failure(&what));
                }
            }
            if let Some(status) = other.child.try_wait()? {
                other.reaped = true;
                return Err(other.failure(&format!("ended early: {status}")));
            }
        }
    }

    /// Sends a line to its stdin.
    pub fn go(&mut self) -> Result<()> {
        let stdin = self.child.stdin.as_mut().ok_or("stdin is piped")?;
        Ok(stdin.write_all(b"\n")?)
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Result<Duration> {
        Ok(clock::process_cpu(self.pid())?)
    }

    /// A field of `/proc/PID/status` that has KiB, as bytes.
    pub fn memory(&self, field: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        Ok(number(&status, field)? * 1024)
    }

    /// How often all its threads together have gone to sleep.
    pub fn sleeps(&self) -> Result<u64> {
        let mut all = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            // A thread that has just ended does not count.
            if let Ok(status) = std::fs::read_to_string(task?.path().join("status")) {
                all += number(&status, "voluntary_ctxt_switches")?;
            }
        }
        Ok(all)
    }

    /// Waits for its file, a socket.
    pub fn wait_for(&mut self, path: &std::path::Path, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !path.exists() {
            if let Some(status) = self.child.try_wait()? {
                self.reaped = true;
                return Err(self.failure(&format!("ended before it listened: {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.failure("does not listen"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Asks it to end.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.rustix_pid()?, signal)?)
    }

    fn rustix_pid(&self) -> Result<Pid> {
        Pid::from_raw(self.pid() as i32).ok_or_else(|| "a process has a number".into())
    }

    /// Waits for its end.
    pub fn ended(&mut self, patience: Duration) -> Result<Ended> {
        let pidfd = pidfd_open(self.rustix_pid()?, PidfdFlags::empty())?;
        let timeout = Timespec::try_from(patience)?;
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        if poll(&mut fds, Some(&timeout))? == 0 {
            return Err(self.failure("does not end"));
        }
        // Its clock is gone once it is waited for.
        let cpu = self.cpu()?;
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(Ended { status, cpu })
    }

    /// Waits for its end, which must be a success.
    pub fn succeeded(&mut self, patience: Duration) -> Result<Ended> {
        let ended = self.ended(patience)?;
        if !ended.status.success() {
            return Err(self.failure(&ended.status.to_string()));
        }
        Ok(ended)
    }

    /// What is wrong, with the last that it said itself.
    pub fn failure(&self, what: &str) -> Box<dyn std::error::Error> {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n    ");
        let colon = if last.is_empty() { "" } else { ":\n    " };
        format!("{} {what}{colon}{last}", self.name).into()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.reaped {
            // It may just have ended; then there is nothing to kill.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn number(status: &str, field: &str) -> Result<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| format!("the kernel tells no {field}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(command: &str) -> Program {
        let dir = std::env::temp_dir();
        let name = format!("perf-test-{}-{command}", std::process::id()).replace([' ', '/'], "-");
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        let core = (0..1024)
            .find(|core| {
                rustix::thread::sched_getaffinity(None)
                    .unwrap()
                    .is_set(*core)
            })
            .unwrap();
        Program::start(&name, &mut shell, core, &dir).unwrap()
    }

    #[test]
    fn its_cpu_is_known_after_its_end() {
        let mut busy = start("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done");
        let ended = busy.succeeded(Duration::from_secs(60)).unwrap();
        assert!(ended.cpu > Duration::from_millis(1), "{:?}", ended.cpu);
        let _ = std::fs::remove_file(&busy.log);
    }

    #[test]
    fn nobody_waits_for_ever_and_nothing_is_left() {
        let mut idle = start("echo why >&2; exec sleep 1000");
        let pid = idle.rustix_pid().unwrap();
        assert!(idle.report(Duration::from_millis(50)).is_err());
        let error = idle.ended(Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("does not end"), "{error}");
        assert!(error.to_string().contains("why"), "{error}");
        let _ = std::fs::remove_file(&idle.log);
        drop(idle);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }
}
