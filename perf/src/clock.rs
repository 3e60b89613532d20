//! Clocks: time that passes, and CPU time of this and of other processes.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC, the same in all processes.
pub fn monotonic_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// CPU time of this process.
pub fn own_cpu() -> Duration {
    Duration::from_nanos(nanoseconds(clock_gettime(ClockId::ProcessCPUTime)))
}

/// CPU time of a process, of all the threads that it has or had: what the
/// kernel's io_uring workers did for it counts too. To the nanosecond, where
/// `/proc/PID/stat` has ticks of 10 ms. It can be read until the process is
/// waited for, so also after its end.
pub fn process_cpu(pid: u32) -> std::io::Result<Duration> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` outlives the call, which writes nothing else.
    let error = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) };
    if error != 0 {
        return Err(std::io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` outlives the call, which writes nothing else.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

fn nanoseconds(time: rustix::time::Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
