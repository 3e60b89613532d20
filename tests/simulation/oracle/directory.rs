//! What a directory holds in the end: of each stream the bytes that are said to be
//! delivered, in their order.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use butler::ledger::DropReason;
use butler::read::{Catalog, Event, Reader};

use super::{Check, explain};
use crate::expected::Expected;
use crate::followed::{Followed, Wrong};
use crate::world::World;

pub fn check(world: &World<'_>, streams: &BTreeMap<String, Followed<'_>>) -> Check {
    let Some(files) = &world.files else {
        return Ok(());
    };
    let contents = contents(&files.path().join("out")).map_err(|error| error.to_string())?;
    for (name, stream) in streams {
        let content = contents.get(name).map_or(&[][..], |it| it);
        check_account(world, name, stream, content)
            .map_err(|what| format!("stream {name}: {what}"))?;
        check_content(world, name, stream, content)
            .map_err(|wrong| explain(streams, name, wrong))?;
    }
    match contents.keys().find(|name| !streams.contains_key(*name)) {
        Some(name) => Err(format!("stream {name} is there, and was never opened")),
        None => Ok(()),
    }
}

/// The content of each stream.
fn contents(path: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut contents = BTreeMap::<String, Vec<u8>>::new();
    let each = &mut |catalog: &Catalog, event: Event<'_>| match event {
        Event::Entry(id, entry) => {
            let name = catalog.get(id).name().to_owned();
            entry.write_to(contents.entry(name).or_default())
        }
        _ => Ok(()),
    };
    if !path.exists() {
        return Ok(contents);
    }
    let mut reader = Reader::new(|_, _| true);
    reader.open(path, each).map_err(io::Error::other)?;
    reader.read(each).map_err(io::Error::other)?;
    Ok(contents)
}

fn check_account(world: &World<'_>, name: &str, stream: &Followed<'_>, content: &[u8]) -> Check {
    let expected = &stream.expected;
    let account = world.driver.machine().core().account_of(name);
    let account = account.ok_or("it was opened")?;
    if account.accepted() != kept(expected) + expected.over_limit + expected.framing {
        return Err(format!("{} bytes are accepted", account.accepted()));
    }
    let over_limit = account.dropped(DropReason::OverLimit);
    let framing = account.dropped(DropReason::Framing);
    if (over_limit, framing) != (expected.over_limit, expected.framing) {
        return Err(format!(
            "{over_limit} are beyond its size, {framing} no datagrams"
        ));
    }
    if account.pending() > 0 {
        return Err(format!("{} bytes are pending", account.pending()));
    }
    let (delivered, there) = (account.delivered(), content.len() as u64);
    let is_bytes = expected.datagrams.is_empty() && expected.over_limit == 0;
    let is_lost = account.dropped_in_all() > 0;
    if is_bytes && is_lost && there != delivered {
        return Err(format!(
            "{delivered} bytes are delivered, {there} are there"
        ));
    }
    Ok(())
}

/// Bytes of the client that are to be delivered, the sizes of datagrams included.
fn kept(expected: &Expected) -> u64 {
    let sizes: usize = expected.datagrams.iter().map(|(_, size)| size).sum();
    expected.kept + sizes as u64
}

/// If all is delivered all is there, but for our own words behind it, which may be
/// lost without being told. Else there is nothing that is not of the stream.
fn check_content(
    world: &World<'_>,
    name: &str,
    stream: &Followed<'_>,
    content: &[u8],
) -> Result<(), Wrong> {
    let expected = &stream.expected;
    let account = world.driver.machine().core().account_of(name);
    let all = account.is_some_and(|it| it.delivered() == kept(expected));
    let (theirs, _) = expected.content.split_at(expected.kept as usize);
    let lost_ours = expected.over_limit > 0 && content.starts_with(theirs);
    let mut rest = expected.content.iter();
    let is_part = content.iter().all(|byte| rest.any(|it| it == byte));
    if content == expected.content || is_part && (lost_ours || !all) {
        return Ok(());
    }
    let same = content.iter().zip(&expected.content);
    let at = same.take_while(|(a, b)| a == b).count();
    Err(Wrong {
        at,
        got: content[at..].to_vec(),
        what: "other bytes are there".into(),
    })
}
