//! What is checked once a run has ended.

mod acknowledged;
mod clients;
mod directory;

use std::collections::BTreeMap;

use butler::ledger::{Account, DropReason};
use butler::proto::logpb::{ButlerLogBundle, LogEntry};
use butler::wire::descriptor::StreamType;
use butler::wire::message::MessageView;

use crate::common;
use crate::expected::Expected;
use crate::followed::{Followed, Wrong};
use crate::kernel::peer::Received;
use crate::plan::{Destination, Fault, SPARE_FROM};
use crate::world::World;

type Check = Result<(), String>;

/// Panics or returns an error at anything that is not as it must be.
pub fn check(world: &World<'_>) -> Check {
    let mut streams = follow(world);
    if world.plan.destination == Destination::Directory {
        directory::check(world, &streams)?;
        check_left(world)?;
        check_losses(world)?;
        return clients::check(world);
    }
    let received = received(world)?;
    note_lost(world, &mut streams, &received)?;
    take_all(world, &mut streams, &received)?;
    check_accounts(world, &streams)?;
    check_losses(world)?;
    check_rules(world, &streams)?;
    clients::check(world)
}

/// What the output was given is what the clients wrote.
pub fn check_given(world: &World<'_>) -> Check {
    let mut streams = follow(world);
    take_all(world, &mut streams, &world.given.borrow())?;
    check_rules(world, &streams)?;
    clients::check(world)
}

/// What came out, in the order in which it was sent.
fn received(world: &World<'_>) -> Result<Vec<ButlerLogBundle>, String> {
    let kernel = world.kernel.borrow();
    let cut = world.aborted();
    if world.plan.destination.is_acknowledged() {
        return acknowledged::safe(&kernel.peer.received, &world.given.borrow());
    }
    match &world.files {
        None => messages(&kernel.peer.received, cut),
        Some(files) => {
            let bytes = std::fs::read(files.path().join("out")).unwrap();
            let received = Received {
                bytes,
                cut,
                ..Received::default()
            };
            messages(&[received], cut)
        }
    }
}

/// The bundles of all connections: whole messages, and where a connection was
/// cut, or the last was given up, at most one that is torn.
fn messages(connections: &[Received], gave_up: bool) -> Result<Vec<ButlerLogBundle>, String> {
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
        let is_last = number + 1 == connections.len();
        if at < connection.bytes.len() && !connection.cut && !(is_last && gave_up) {
            return Err(wrong(at, "a torn message, and no cut".into()));
        }
    }
    Ok(bundles)
}

fn follow<'a>(world: &'a World<'_>) -> BTreeMap<String, Followed<'a>> {
    let kernel = world.kernel.borrow();
    let followed = world.opened.iter().map(|opened| {
        let plan = &world.plan.clients[opened.client];
        let name = opened.info.name.to_string();
        let socket = &kernel.sockets[opened.client];
        // Who is given up may have been read, and that not been handed on.
        let account = world.driver.machine().core().account_of(&name);
        let accepted = account.map_or(0, |it| it.accepted()) as usize;
        let read = socket.read - plan.header_bytes().len();
        let is_abandoned = world.aborted() && accepted + socket.last_read == read;
        let given = if is_abandoned { accepted } else { read };
        let data = &plan.wire()[plan.header_bytes().len()..][..given];
        let limit = world.plan.stream_size_max;
        let expected = Expected::new(plan.stream_type, data, limit);
        (name, Followed::new(opened, plan.stream_type, expected))
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

/// What the output was given and has not come is lost.
fn note_lost(
    world: &World<'_>,
    streams: &mut BTreeMap<String, Followed<'_>>,
    received: &[ButlerLogBundle],
) -> Check {
    let mut received = received.iter().peekable();
    let kernel = world.kernel.borrow();
    for (number, given) in world.given.borrow().iter().enumerate() {
        if received.next_if_eq(&given).is_some() {
            continue;
        }
        let reason = match kernel.peer.refused.contains(&number) {
            true => DropReason::Refused,
            false => DropReason::Undelivered,
        };
        for (name, log) in entries(given) {
            let stream = find(streams, name)?;
            stream.lost.insert(log.stream_index, (log.clone(), reason));
        }
    }
    Ok(())
}

/// Every stream's content, what came and what was lost, is what its client
/// wrote; gaps are where a loss was reported. What was never given to an output
/// that was given up is lost too.
fn take_all(
    world: &World<'_>,
    streams: &mut BTreeMap<String, Followed<'_>>,
    received: &[ButlerLogBundle],
) -> Check {
    for (name, log) in received.iter().flat_map(entries) {
        let taken = find(streams, name)?.take_received(log);
        taken.map_err(|wrong| explain(streams, name, wrong))?;
    }
    let names: Vec<_> = streams.keys().cloned().collect();
    let tail = world.aborted().then_some(DropReason::Undelivered);
    for name in names {
        let ended = find(streams, &name)?.take_end(tail);
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
    let core = world.driver.machine().core();
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
        let account = core.account_of(name).ok_or("it was opened")?;
        let got = columns(&account);
        if want != got {
            return Err(format!(
                "stream {name}: the account is {got:?}, not {want:?}"
            ));
        }
        let losses = core.losses().get(&stream.opened.info.name);
        let told = losses.map_or(0, Account::dropped_in_all);
        if told != stream.dropped.values().sum::<u64>() {
            return Err(format!("stream {name}: {told} bytes are told to be lost"));
        }
        for (column, bytes) in want {
            *sums.entry(column).or_default() += bytes;
        }
    }
    for (column, bytes) in columns(core.account()) {
        let sum = sums.get(column).copied().unwrap_or(0);
        if sum != bytes {
            return Err(format!("{column} in all: {bytes}, the streams' are {sum}"));
        }
    }
    check_left(world)
}

/// Nothing is held any more.
fn check_left(world: &World<'_>) -> Check {
    let core = world.driver.machine().core();
    if !core.is_settled() || core.buffered() > 0 {
        return Err(format!(
            "{} bytes and {} streams are left over",
            core.buffered(),
            core.open_streams()
        ));
    }
    Ok(())
}

/// Nothing is lost unless the output took too long or refused it, or somebody
/// would not wait.
fn check_losses(world: &World<'_>) -> Check {
    const REASONS: [Fault; 10] = [
        Fault::Stops,
        Fault::Stalls,
        Fault::Cuts,
        Fault::Refusals,
        Fault::WrongAnswers,
        Fault::Losses,
        Fault::Hangs,
        Fault::FileErrors,
        Fault::Removals,
        Fault::NoDescriptors,
    ];
    let plan = world.plan;
    let core = world.driver.machine().core();
    let reason =
        REASONS.iter().any(|fault| plan.faults.contains(fault)) || plan.descriptors < SPARE_FROM;
    let lost = core.stats().bundles_lost;
    if lost > 0 && !reason && world.aborted_ns.is_none() {
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

/// All messages, those that came and those that were lost, keep the rules of
/// the protocol.
fn check_rules(world: &World<'_>, streams: &BTreeMap<String, Followed<'_>>) -> Check {
    let mut seen = common::reassemble(&world.given.borrow());
    for (name, followed) in streams {
        let Some(stream) = seen.remove(name) else {
            if followed.next > 0 {
                return Err(format!("stream {name} is not there"));
            }
            continue;
        };
        let core = world.driver.machine().core();
        if stream.terminal.is_none() {
            if !core.ends_lost().contains_key(&followed.opened.info.name) {
                return Err(format!("stream {name} has no terminal"));
            }
            continue;
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
