//! A reader of a `unix:` output that can hold still.

use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use butler::proto::logpb::ButlerLogBundle;
use butler::wire::message::MessageView;

use super::process::Serve;
use super::tracker::Tracker;

/// What reader and test share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    held: bool,
    accepted: bool,
}

/// Accepts one connection and reads it to its end in a thread of its own.
pub struct Reader {
    path: PathBuf,
    shared: Arc<Shared>,
    tracker: Arc<Mutex<Tracker>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Reads into `tracker`.
    pub fn listen(dir: &Path, tracker: Tracker) -> Self {
        Self::listen_with(dir, tracker, |_| {})
    }

    /// The same, and `look` sees each bundle as soon as it is there.
    pub fn listen_with(
        dir: &Path,
        tracker: Tracker,
        look: impl FnMut(&ButlerLogBundle) + Send + 'static,
    ) -> Self {
        let path = dir.join("output.sock");
        let listener = UnixListener::bind(&path).expect("a socket can be bound");
        let shared = Arc::new(Shared::default());
        let tracker = Arc::new(Mutex::new(tracker));
        let thread = std::thread::spawn({
            let (shared, tracker) = (Arc::clone(&shared), Arc::clone(&tracker));
            move || {
                let (connection, _) = listener.accept().expect("a connection comes");
                shared.state.lock().expect("no panic").accepted = true;
                read(connection, &shared, &tracker, look);
            }
        });
        Self {
            path,
            shared,
            tracker,
            thread: Some(thread),
        }
    }

    /// The output's SPEC.
    /// A `butler serve` that sends to it.
    pub fn serve(&self, dir: &Path, options: &[&str]) -> Serve {
        Serve::start(dir, &[&["--output", &self.output()], options].concat())
    }

    pub fn output(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    /// While it is held it does not read.
    pub fn hold(&self, held: bool) {
        self.shared.state.lock().expect("no panic").held = held;
        self.shared.changed.notify_all();
    }

    /// What was seen so far.
    pub fn seen<T>(&self, look: impl FnOnce(&Tracker) -> T) -> T {
        let tracker = self.tracker.lock();
        look(&tracker.expect("what was read is right"))
    }

    /// What was seen, once the butler has ended.
    pub fn finish(mut self) -> Tracker {
        self.stop().expect("what was read is right");
        std::mem::take(&mut self.tracker.lock().expect("the thread has ended"))
    }

    fn stop(&mut self) -> std::thread::Result<()> {
        let mut state = self.shared.state.lock().expect("no panic");
        state.held = false;
        if !state.accepted {
            // If nobody comes, this one is what is read to its end.
            UnixStream::connect(&self.path).expect("it listens");
        }
        drop(state);
        self.shared.changed.notify_all();
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

fn read(
    mut connection: UnixStream,
    shared: &Shared,
    tracker: &Mutex<Tracker>,
    mut look: impl FnMut(&ButlerLogBundle),
) {
    let mut buffer = vec![0; 1024 * 1024];
    let mut waiting = Vec::new();
    loop {
        let state = shared.state.lock().expect("no panic");
        drop(shared.changed.wait_while(state, |state| state.held));
        let len = connection.read(&mut buffer).expect("it is not reset");
        if len == 0 {
            break;
        }
        waiting.extend_from_slice(&buffer[..len]);
        let mut used = 0;
        while let Some(view) = MessageView::parse(&waiting[used..]).expect("a message") {
            let bundle = view.bundle().expect("a bundle");
            look(&bundle);
            tracker.lock().expect("it was right so far").take(&bundle);
            used += view.len;
        }
        waiting.drain(..used);
    }
    assert!(waiting.is_empty(), "the last message is cut");
}
