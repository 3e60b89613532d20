//! What clients must be able to rely on: whoever does what is asked of it gets a
//! stream, and what it wrote is read.

use std::time::Duration;

use butler::limits::{HEADER_LAST_LOOK, HEADER_STALL, HEADER_TIMEOUT};

use super::Check;
use crate::client::Client;
use crate::content::Header;
use crate::plan::{Fault, How};
use crate::world::World;

pub fn check(world: &World<'_>) -> Check {
    check_inputs(world)?;
    check_lookers(world)?;
    for (number, client) in world.clients.iter().enumerate() {
        check_let_in(world, number, client)?;
    }
    let waiting = world.kernel.borrow().queue.len();
    if waiting > 0 && !world.aborted() {
        return Err(format!("{waiting} clients wait, and are never accepted"));
    }
    Ok(())
}

/// Nothing stays in a socket whose stream came to its end, and nothing of it is
/// missing.
fn check_inputs(world: &World<'_>) -> Check {
    let kernel = world.kernel.borrow();
    let core = world.driver.machine().core();
    for opened in &world.opened {
        let name = opened.info.name.as_str();
        let socket = &kernel.sockets[opened.client];
        let account = core.account_of(name).ok_or("it was opened")?;
        let is_cut = socket.failed
            || world.aborted()
            || account.dropped(butler::ledger::DropReason::Framing) > 0;
        let left = socket.written_in_time() - socket.read;
        if left > 0 && !is_cut {
            return Err(format!(
                "stream {name}: {left} bytes that its client wrote are never read"
            ));
        }
    }
    let opened = world.opened.len() as u64;
    if core.stats().streams != opened {
        return Err(format!("{opened} streams were opened"));
    }
    Ok(())
}

/// Whoever looks at a stream has seen all that was read, and its end.
fn check_lookers(world: &World<'_>) -> Check {
    let core = world.driver.machine().core();
    for (client, looker) in &world.lookers {
        let Some(opened) = world.opened.iter().find(|it| it.client == *client) else {
            continue;
        };
        let account = core.account_of(opened.info.name.as_str());
        let accepted = account.map_or(0, |it| it.accepted()) as usize;
        let wire = world.plan.clients[*client].wire();
        let seen = looker.seen.borrow();
        if seen.len() < accepted || !wire.starts_with(&seen) {
            return Err(format!("client {client}: other bytes are shown"));
        }
        if !looker.closed.get() {
            return Err(format!("client {client}: what is shown has no end"));
        }
    }
    Ok(())
}

/// Who may not open streams gets none; who may, and has sent a header in time,
/// gets one.
fn check_let_in(world: &World<'_>, number: usize, client: &Client) -> Check {
    let plan = &world.plan.clients[number];
    let is_open = world.opened.iter().any(|it| it.client == number);
    if plan.how.is_refused() && (is_open || world.kernel.borrow().sockets[number].read > 0) {
        return Err(format!(
            "client {number} may not open a stream, and is read"
        ));
    }
    let must = plan.how == How::Connects
        && plan.header == Header::Good
        && is_honest(world, client)
        && !(plan.number == 0 && is_name_taken(world))
        && !world.kernel.borrow().sockets[number].failed
        && !world.aborted();
    if must && !is_open {
        return Err(format!(
            "client {number} has sent its header, and gets no stream"
        ));
    }
    Ok(())
}

/// Another client, or none, may have had the name of the first.
fn is_name_taken(world: &World<'_>) -> bool {
    let mut others = world.plan.clients.iter();
    others.any(|it| it.header == Header::NameOfTheFirst)
}

/// Has the client sent its header within the time for it, and before the end began?
fn is_honest(world: &World<'_>, client: &Client) -> bool {
    let nanos = |time: Duration| time.as_nanos() as u64;
    let sent = &client.header;
    let Some(done_ns) = sent.done_ns else {
        return false;
    };
    let stops = world.plan.faults.contains(&Fault::Stops);
    sent.waited_ns < nanos(HEADER_TIMEOUT - HEADER_LAST_LOOK)
        && !(world.plan.is_crowded() && sent.longest_ns >= nanos(HEADER_STALL))
        && !(stops && sent.was_blocked)
        && world.sigterm_ns.is_none_or(|at| done_ns <= at)
}
