//! `butler send`: what butlers have left in spools goes to an output, all spools
//! beside each other.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::advice::told;
use super::logger;
use super::options::{Common, SendOptions};
use super::sandbox::Needs;
use super::session::{self, Asked, EXIT_FAILED, SessionError, Signals};
use crate::output::spool::SpoolError;
use crate::process::signals::Caught;
use crate::{Amount, Error, SendConfig, SendProgress, SendReport, Sending};

/// How often people see how far it is.
const SHOW_INTERVAL: Duration = Duration::from_millis(200);

/// A spool that is being sent.
struct Spool {
    path: PathBuf,
    sending: Sending,
}

pub(super) async fn send(common: Common, options: SendOptions, caught: Caught) -> ExitCode {
    let mut signals = match Signals::new(caught) {
        Ok(signals) => signals,
        Err(error) => return session::fail(format!("signals: {error}")),
    };
    let statistics = match session::prepare_statistics(&common) {
        Ok(statistics) => statistics,
        Err(why) => return session::fail(why),
    };
    session::keep_secrets(&common);
    let spools = match open(&common, &options, &mut signals).await {
        Ok(spools) => spools,
        Err(failure) => return failure.tell(),
    };
    Needs::of(&common)
        .of_spools(&options)
        .of_report(statistics.as_ref())
        .give_up_the_rest();
    let people_look_on = common.gives_hints() && io::stderr().is_terminal();
    let sent = wait(&spools, &mut signals, people_look_on).await;
    let mut is_complete = spools.len() == options.spools.len();
    for (spool, sent) in spools.iter().zip(sent) {
        is_complete &= tell(spool, &sent, people_look_on);
    }
    if let Some(file) = statistics {
        file.write(&summed(&spools));
    }
    match is_complete {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(EXIT_FAILED),
    }
}

/// Opens those that can be had. Why another one can't is told.
async fn open(
    common: &Common,
    options: &SendOptions,
    signals: &mut Signals,
) -> Result<Vec<Spool>, SessionError> {
    let mut spools = Vec::new();
    for path in &options.spools {
        let mut config = SendConfig::new(path, common.config.output.clone());
        config.keeps = options.keep;
        config.patience = common.config.flush_timeout;
        let mut opening = std::pin::pin!(Sending::open(config));
        let opened = loop {
            tokio::select! {
                opened = &mut opening => break opened,
                asked = signals.next() => match asked {
                    Asked::Statistics => {}
                    Asked::End | Asked::EndNow => return Err(SessionError::Interrupted),
                },
            }
        };
        match opened {
            Ok(sending) => spools.push(Spool {
                path: path.clone(),
                sending,
            }),
            Err(Error::Spool(SpoolError::InUse { path, pid })) => log::error!(
                "the spool {} is that of a running butler{}, which sends what is in it",
                path.display(),
                pid.map(|pid| format!(" (process {pid})"))
                    .unwrap_or_default()
            ),
            Err(error) => log::error!("{}", told(&error)),
        }
    }
    Ok(spools)
}

/// Waits for the end of all of them. The first signal lets what is under way come
/// to its end, the second one does not.
async fn wait(
    spools: &[Spool],
    signals: &mut Signals,
    people_look_on: bool,
) -> Vec<Result<SendReport, Error>> {
    let mut all = std::pin::pin!(async {
        let mut sent = Vec::new();
        for spool in spools {
            sent.push(spool.sending.wait().await);
        }
        sent
    });
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(SHOW_INTERVAL);
    loop {
        tokio::select! {
            sent = &mut all => {
                logger::show(String::new());
                return sent;
            }
            asked = signals.next() => match asked {
                Asked::Statistics => session::tell(&format!("statistics: {}", summed(spools))),
                Asked::EndNow => spools.iter().for_each(|spool| spool.sending.abort()),
                Asked::End => {
                    log::info!("ending; once more to end at once");
                    spools.iter().for_each(|spool| spool.sending.stop());
                }
            },
            _ = ticks.tick(), if people_look_on => {
                let (progress, time) = (progress(spools), begun.elapsed());
                logger::show(ProgressLine { progress, time }.to_string());
            }
        }
    }
}

/// Says how it went. True: all is delivered.
fn tell(spool: &Spool, sent: &Result<SendReport, Error>, people_look_on: bool) -> bool {
    let path = spool.path.display();
    let sent = match sent {
        Ok(sent) => sent,
        Err(error) => {
            log::error!("{path}: {}", told(error));
            return false;
        }
    };
    let SendProgress {
        delivered,
        refused,
        damaged,
        ..
    } = sent.progress;
    if refused.messages > 0 {
        log::error!(
            "{path}: refused by who was to take it, and lost: {}",
            Told(refused)
        );
    }
    if damaged > 0 {
        log::error!("{path}: places that are damaged, or can't be read: {damaged}");
    }
    if sent.left.messages > 0 {
        log::error!("{} still", sent.left);
    }
    let summary = match (delivered.messages, sent.left.messages + refused.messages) {
        (0, 0) => format!("{path}: nothing waits there"),
        _ => format!("{path}: delivered {}", Told(delivered)),
    };
    match people_look_on {
        true => logger::tell(&summary),
        false => log::info!("{summary}"),
    }
    sent.is_complete()
}

/// For people.
struct Told(Amount);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Amount { messages, bytes } = self.0;
        let s = if messages == 1 { "" } else { "s" };
        write!(f, "{messages} message{s} of {bytes} bytes")
    }
}

/// What became of all of them.
fn progress(spools: &[Spool]) -> SendProgress {
    let mut sum = SendProgress::default();
    for spool in spools {
        let one = spool.sending.progress();
        sum.total += one.total;
        sum.delivered += one.delivered;
        sum.refused += one.refused;
        sum.damaged += one.damaged;
    }
    sum
}

/// The same and more, for machines.
fn summed(spools: &[Spool]) -> Value {
    let SendProgress {
        total,
        delivered,
        refused,
        damaged,
    } = progress(spools);
    let snapshots = spools.iter().map(|spool| spool.sending.snapshot());
    let (bytes_out, errors) = snapshots.fold((0, 0), |(bytes, errors), it| {
        (bytes + it.bytes_out, errors + it.output_errors)
    });
    json!({
        "messages": total.messages,
        "bytes": total.bytes,
        "messages_delivered": delivered.messages,
        "bytes_delivered": delivered.bytes,
        "messages_refused": refused.messages,
        "bytes_refused": refused.bytes,
        "damaged": damaged,
        "bytes_out": bytes_out,
        "output_errors": errors,
    })
}

/// How far it is after some time, in a line.
struct ProgressLine {
    progress: SendProgress,
    time: Duration,
}

/// How wide the bar is.
const BAR: u64 = 20;

impl fmt::Display for ProgressLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SendProgress {
            total, delivered, ..
        } = self.progress;
        // Messages may have no bytes of clients: their streams' ends alone.
        let (done, all) = match total.bytes {
            0 => (delivered.messages, total.messages),
            bytes => (delivered.bytes, bytes),
        };
        let of =
            |parts: u64| (u128::from(done) * u128::from(parts) / u128::from(all.max(1))) as u64;
        let filled = of(BAR).min(BAR) as usize;
        let rate = delivered.bytes as f64 / self.time.as_secs_f64().max(0.001);
        write!(
            f,
            "[{:<width$}] {}% of {}, {}/s",
            "#".repeat(filled),
            of(100).min(100),
            Size(total.bytes),
            Size(rate as u64),
            width = BAR as usize
        )?;
        let left = total.bytes.saturating_sub(delivered.bytes);
        match rate >= 1.0 {
            true => write!(f, ", {} s left", (left as f64 / rate).ceil()),
            false => Ok(()),
        }
    }
}

/// Bytes, for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut size, mut units) = (self.0 as f64, ["KiB", "MiB", "GiB", "TiB"].iter());
        let mut unit = "B";
        while size >= 1024.0
            && let Some(larger) = units.next()
        {
            (size, unit) = (size / 1024.0, larger);
        }
        match unit {
            "B" => write!(f, "{size} B"),
            _ => write!(f, "{size:.1} {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_is() {
        let shown = |delivered: (u64, u64), total: (u64, u64), seconds| {
            let amount = |(messages, bytes)| Amount { messages, bytes };
            let progress = SendProgress {
                total: amount(total),
                delivered: amount(delivered),
                ..SendProgress::default()
            };
            let time = Duration::from_secs(seconds);
            ProgressLine { progress, time }.to_string()
        };
        for (line, expected) in [
            (
                shown((0, 0), (3, 5000), 0),
                "[                    ] 0% of 4.9 KiB, 0 B/s",
            ),
            (
                shown((1, 1 << 20), (9, 3 << 20), 2),
                "[######              ] 33% of 3.0 MiB, 512.0 KiB/s, 4 s left",
            ),
            (
                shown((4, 1 << 30), (4, 1 << 30), 1),
                "[####################] 100% of 1.0 GiB, 1.0 GiB/s, 0 s left",
            ),
            (
                shown((1, 0), (2, 0), 1),
                "[##########          ] 50% of 0 B, 0 B/s",
            ),
        ] {
            assert_eq!(line, expected);
        }
    }
}
