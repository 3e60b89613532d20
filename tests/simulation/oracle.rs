//! What is checked once a run has ended.

use std::collections::BTreeMap;

use butler::ledger::{Account, DropReason};
use butler::proto::logpb::{ButlerLogBundle, LogEntry};
use butler::wire::descriptor::StreamType;
use butler::wire::message::MessageView;

use crate::common;
use crate::expected::Expected;
use crate::followed::{Followed, Wrong};
use crate::output::{Fate, Received};
use crate::plan::Fault;
use crate::world::World;

type Check = Result<(), String>;

/// Panics or returns an error at anything that is not as it must be.
pub fn check(world: &World<'_>) -> Check {
    let received = messages(&world.output.received)?;
    let mut streams = follow(world);
    for fate in &world.output.fates {
        if let Fate::Lost(bundle, reason) = fate {
            note_lost(&mut streams, bundle, *reason)?;
        }
    }
    take_all(&mut streams, &received)?;
    check_accounts(world, &streams)?;
    check_losses(world)?;
    check_rules(world, &streams, received)?;
    check_inputs(world)
}

/// The bundles of all connections: whole messages, and where a connection was
/// cut at most one that is torn.
fn messages(connections: &[Received]) -> Result<Vec<ButlerLogBundle>, String> {
    let mut bundles = Vec::new();
    for (number, connection) in connections.iter().enumerate() {
        let mut at = 0;
        let wrong = |at, what| format!("connection {number}, byte {at}: {what}");
        while let Some(view) = MessageView::parse(&connection.bytes[at..])
            .map_err(|error| wrong(at, format!("{error}")))?
        {
            bundles.push(
                view.bundle()
                    .map_err(|error| wrong(at, format!("{error}")))?,
            );
            at += view.len;
        }
        if at < connection.bytes.len() && !connection.cut {
            return Err(wrong(at, "a torn message, and no cut".into()));
        }
    }
    Ok(bundles)
}

fn follow<'a>(world: &'a World<'_>) -> BTreeMap<String, Followed<'a>> {
    let followed = world.edge.opened.iter().map(|opened| {
        let plan = &world.plan.clients[opened.client];
        let read = world.kernel.sockets[opened.client].read;
        let header = plan.header_bytes().len();
        let given = read - opened.not_data;
        let data = &plan.wire()[header..][..given];
        let limit = world.plan.stream_size_max;
        let expected = Expected::new(plan.stream_type, data, limit);
        let followed = Followed::new(opened, plan.stream_type, expected);
        (opened.info.name.to_string(), followed)
    });
    followed.collect()
}

fn find<'a, 'b>(
    streams: &'b mut BTreeMap<String, Followed<'a>>,
    name: &str,
) -> Result<&'b mut Followed<'a>, String> {
    let found = streams.get_mut(name);
    found.ok_or_else(|| format!("stream {name} came, and was never opened"))
}

fn entries(bundle: &ButlerLogBundle) -> impl Iterator<Item = (&str, &LogEntry)> {
    bundle.entries.iter().flat_map(|entry| {
        let name = entry.desc.as_ref().map_or("", |desc| &desc.name);
        entry.logs.iter().map(move |log| (name, log))
    })
}

fn note_lost(
    streams: &mut BTreeMap<String, Followed<'_>>,
    bundle: &ButlerLogBundle,
    reason: DropReason,
) -> Check {
    for (name, log) in entries(bundle) {
        let stream = find(streams, name)?;
        stream.lost.insert(log.stream_index, (log.clone(), reason));
    }
    Ok(())
}

/// Every stream's content, what came and what was lost, is what its client
/// wrote; gaps are where a loss was reported.
fn take_all(streams: &mut BTreeMap<String, Followed<'_>>, received: &[ButlerLogBundle]) -> Check {
    for (name, log) in received.iter().flat_map(entries) {
        let taken = find(streams, name)?.take_received(log);
        taken.map_err(|wrong| explain(streams, name, wrong))?;
    }
    let names: Vec<_> = streams.keys().cloned().collect();
    for name in names {
        let ended = find(streams, &name)?.take_end();
        ended.map_err(|wrong| explain(streams, &name, wrong))?;
    }
    Ok(())
}

/// Says where it is, what was expected and where what came belongs.
fn explain(streams: &BTreeMap<String, Followed<'_>>, name: &str, wrong: Wrong) -> String {
    const SHOWN: usize = 16;
    let (at, got) = (wrong.at, &wrong.got[..wrong.got.len().min(SHOWN)]);
    let expected = streams.get(name).map_or(&[][..], |stream| {
        let content = &stream.expected.content[at.min(stream.expected.content.len())..];
        &content[..content.len().min(SHOWN)]
    });
    let mut belongs = String::new();
    if !got.is_empty() {
        for (name, stream) in streams {
            let mut windows = stream.expected.content.windows(got.len());
            if let Some(place) = windows.position(|window| window == got) {
                belongs = format!(", which belongs at byte {place} of {name}");
                break;
            }
        }
    }
    format!(
        "stream {name}: at byte {at} expected \"{}\", got \"{}\"{belongs}: {}",
        expected.escape_ascii(),
        got.escape_ascii(),
        wrong.what
    )
}

/// Accepted is delivered and dropped by reason, to the byte, of each stream
/// and of all.
fn check_accounts(world: &World<'_>, streams: &BTreeMap<String, Followed<'_>>) -> Check {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, stream) in streams {
        let expected = &stream.expected;
        let dropped = |reason| stream.dropped.get(&reason).copied().unwrap_or(0);
        let accepted = expected.over_limit
            + expected.framing
            + stream.delivered
            + stream.dropped.values().sum::<u64>();
        let want = [
            ("accepted", accepted),
            ("delivered", stream.delivered),
            ("over_limit", expected.over_limit),
            ("framing", expected.framing),
            ("undelivered", dropped(DropReason::Undelivered)),
            ("refused", dropped(DropReason::Refused)),
        ];
        let account = world.core.account_of(name).ok_or("it was opened")?;
        let got = columns(&account);
        if want != got {
            return Err(format!(
                "stream {name}: the account is {got:?}, not {want:?}"
            ));
        }
        let losses = world.core.losses().get(&stream.opened.info.name);
        let told = losses.map_or(0, Account::dropped_in_all);
        if told != stream.dropped.values().sum::<u64>() {
            return Err(format!("stream {name}: {told} bytes are told to be lost"));
        }
        for (column, bytes) in want {
            *sums.entry(column).or_default() += bytes;
        }
    }
    for (column, bytes) in columns(world.core.account()) {
        let sum = sums.get(column).copied().unwrap_or(0);
        if sum != bytes {
            return Err(format!("{column} in all: {bytes}, the streams' are {sum}"));
        }
    }
    if !world.core.is_settled() || world.core.buffered() > 0 {
        return Err(format!(
            "{} bytes and {} streams are left over",
            world.core.buffered(),
            world.core.open_streams()
        ));
    }
    Ok(())
}

/// Nothing is lost unless the output took too long or refused it, or somebody
/// would not wait.
fn check_losses(world: &World<'_>) -> Check {
    const REASONS: [Fault; 5] = [
        Fault::Stalls,
        Fault::Cuts,
        Fault::Refusals,
        Fault::Losses,
        Fault::Hangs,
    ];
    let plan = world.plan;
    let reason = REASONS.iter().any(|fault| plan.faults.contains(fault));
    let lost = world.core.stats().bundles_lost;
    if lost > 0 && !reason && plan.sigterm_again.is_none() {
        return Err(format!("{lost} bundles are lost for no reason"));
    }
    Ok(())
}

fn columns(account: &Account) -> [(&'static str, u64); 6] {
    [
        ("accepted", account.accepted()),
        ("delivered", account.delivered()),
        ("over_limit", account.dropped(DropReason::OverLimit)),
        ("framing", account.dropped(DropReason::Framing)),
        ("undelivered", account.dropped(DropReason::Undelivered)),
        ("refused", account.dropped(DropReason::Refused)),
    ]
}

/// All bundles, those that came and those that were lost, keep the rules of
/// the protocol.
fn check_rules(
    world: &World<'_>,
    streams: &BTreeMap<String, Followed<'_>>,
    received: Vec<ButlerLogBundle>,
) -> Check {
    let mut received = received.into_iter();
    let mut all = Vec::new();
    for fate in &world.output.fates {
        match fate {
            Fate::Lost(bundle, _) => all.push((**bundle).clone()),
            Fate::Delivered => {
                let bundle = received.next();
                all.push(bundle.ok_or("a delivered bundle did not come")?);
            }
        }
    }
    if received.next().is_some() {
        return Err("more bundles came than were delivered".into());
    }
    let mut seen = common::reassemble(&all);
    for (name, followed) in streams {
        let Some(stream) = seen.remove(name) else {
            if followed.next > 0 {
                return Err(format!("stream {name} is not there"));
            }
            continue;
        };
        if stream.terminal.is_none() {
            return Err(format!("stream {name} has no terminal"));
        }
        let expected = &followed.expected;
        let lines_wanted = followed.stream_type == StreamType::Text && world.plan.text_in_lines;
        if lines_wanted && stream.lines != expected.lines() {
            return Err(format!("stream {name}: other lines"));
        }
        if followed.stream_type == StreamType::Datagram {
            let sizes = stream.datagrams.iter().map(Vec::len);
            let same = sizes.eq(expected.datagrams.iter().map(|it| it.0));
            if !same || stream.datagram_open != expected.datagram_open {
                return Err(format!("stream {name}: other datagrams"));
            }
        }
    }
    match seen.keys().next() {
        Some(name) => Err(format!("stream {name} came, and was never opened")),
        None => Ok(()),
    }
}

/// Nothing stays in a socket whose stream came to its end.
fn check_inputs(world: &World<'_>) -> Check {
    for opened in &world.edge.opened {
        let left = world.kernel.sockets[opened.client].len();
        if left > 0 && !opened.cut_short {
            return Err(format!(
                "stream {}: {left} bytes that its client wrote are never read",
                opened.info.name
            ));
        }
    }
    let opened = world.edge.opened.len() as u64;
    if world.core.stats().streams != opened {
        return Err(format!("{opened} streams were opened"));
    }
    Ok(())
}
