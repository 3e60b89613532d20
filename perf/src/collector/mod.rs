//! What a butler with the logdog output talks to, in one process and on one
//! thread: all that Google's side does for it, and nothing behind it.
//!
//! ```text
//! services   tokens and the registration of prefixes, over HTTP/1.1
//! pubsub     gRPC's Publish, over HTTP/2: counts and discards
//! message    how long the message of a call is, by its first bytes
//! ```

mod message;
mod pubsub;
mod services;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;

use crate::{Result, clock, report};

/// Where all prefixes are to be published.
const TOPIC: &str = "projects/bench/topics/logs";
/// As long as a real one.
const SECRET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// What was published.
#[derive(Debug, Default)]
struct Counts {
    calls_refused: Cell<u64>,
    connections: Cell<u64>,
    messages: Cell<u64>,
    bytes: Cell<u64>,
}

fn add(to: &Cell<u64>, count: u64) {
    to.set(to.get() + count);
}

impl Counts {
    fn report(&self) -> Value {
        json!({
            "messages": self.messages.get(),
            "bytes": self.bytes.get(),
            "connections": self.connections.get(),
            "calls_refused": self.calls_refused.get(),
            "cpu_seconds": clock::own_cpu().as_secs_f64(),
        })
    }
}

/// Serves at free ports of `host` until SIGTERM, and says where and what came.
pub fn run(host: IpAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let counts = Rc::new(Counts::default());
    LocalSet::new().block_on(&runtime, serve(host, Rc::clone(&counts)))?;
    Ok(report::say(&counts.report())?)
}

async fn serve(host: IpAddr, counts: Rc<Counts>) -> Result<()> {
    // Whoever knows where this is may already end it.
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let services = TcpListener::bind((host, 0)).await?;
    let pubsub = TcpListener::bind((host, 0)).await?;
    report::say(&json!({"listening": {
        "services": services.local_addr()?.to_string(),
        "pubsub": pubsub.local_addr()?.to_string(),
    }}))?;
    first([
        Box::pin(came(terminate)),
        Box::pin(came(interrupt)),
        Box::pin(services::serve(services)),
        Box::pin(pubsub::serve(pubsub, counts)),
    ])
    .await
}

async fn came(mut signal: Signal) -> Result<()> {
    signal.recv().await;
    Ok(())
}

/// What the first one of them ends with.
async fn first<const N: usize>(
    mut all: [Pin<Box<dyn Future<Output = Result<()>> + '_>>; N],
) -> Result<()> {
    poll_fn(|context| {
        let mut ended = all
            .iter_mut()
            .filter_map(|one| match one.as_mut().poll(context) {
                Poll::Ready(result) => Some(result),
                Poll::Pending => None,
            });
        ended.next().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}
