//! Handles: in runtimes, beside each other, in callbacks, and the last one.

use std::future::Future;
use std::io::Write;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use butler::output::MemoryOutput;
use butler::wire::name::Namespace;
use butler::{Handle, Selector, Watch, WatchEvent};

use crate::common::process::start;
use crate::{LONG, builder, end, started, until};

/// What the library has logged.
struct Logged(Mutex<Vec<String>>);

impl log::Log for Logged {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

static LOGGED: LazyLock<&'static Logged> = LazyLock::new(|| {
    let logged = Box::leak(Box::new(Logged(Mutex::default())));
    log::set_logger(logged).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    logged
});

fn is_logged(text: &str) -> bool {
    LOGGED.0.lock().unwrap().iter().any(|it| it.contains(text))
}

/// Everything, as a task does it.
async fn job(memory: MemoryOutput) {
    let handle = builder(&memory).start_async().await.unwrap();
    let mut watcher = handle.watch(Selector::All, Watch::Whole);
    let mut writer = handle.stream("in/runtime").open().unwrap();
    writer.write_all(b"a line\n").unwrap();
    drop(writer);
    let namespace = Namespace::new("in").unwrap();
    assert_eq!(handle.drain(&namespace, LONG).await.unwrap(), []);
    assert!(matches!(
        watcher.recv().await,
        Some(WatchEvent::Entry { .. })
    ));
    assert!(matches!(watcher.recv().await, Some(WatchEvent::End { .. })));
    assert_eq!(handle.streams().unwrap().len(), 1);
    let report = handle.shutdown(Duration::ZERO).await.unwrap();
    assert!(report.is_complete());
    assert!(watcher.recv().await.is_none());
    assert_eq!(memory.stream_bytes("in/runtime"), b"a line\n");

    // Who blocks in a task is not told off by a panic.
    let handle = builder(&memory).start().unwrap();
    assert_eq!(handle.snapshot().unwrap().streams, 0);
    let mut watcher = handle.watch(Selector::All, Watch::Whole);
    drop(handle.stream("blocks").open().unwrap());
    assert!(matches!(watcher.next(), Some(WatchEvent::End { .. })));
    handle.activate();
    assert!(handle.wait().wait().unwrap().is_complete());
}

#[test]
fn in_runtimes_of_the_program() {
    let current = tokio::runtime::Builder::new_current_thread().build();
    current.unwrap().block_on(job(MemoryOutput::default()));
    let multi = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build();
    multi.unwrap().block_on(async {
        let jobs: Vec<_> = (0..8)
            .map(|_| tokio::spawn(job(MemoryOutput::default())))
            .collect();
        for job in jobs {
            job.await.unwrap();
        }
    });
    // Inside of a butler's own runtime too.
    start(job(MemoryOutput::default())).unwrap();
}

#[test]
fn on_the_thread_of_the_program() {
    let memory = MemoryOutput::default();
    start(async {
        let butler = builder(&memory).start_here().await.unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let properties = crate::text("here");
        butler.add_stream(reader.into(), &properties).unwrap();
        writer.write_all(b"a line\n").unwrap();
        drop(writer);
        butler.activate();
        assert!(butler.wait().await.unwrap().is_complete());
    })
    .unwrap();
    assert_eq!(memory.stream_bytes("here"), b"a line\n");
}

/// Each has its own streams, and one ends without the other.
#[test]
fn two_butlers() {
    let memories = [MemoryOutput::default(), MemoryOutput::default()];
    let handles = memories.each_ref().map(started);
    let mut writers = handles
        .each_ref()
        .map(|handle| handle.stream("same").open().unwrap());
    writers[0].write_all(b"first").unwrap();
    writers[1].write_all(b"sec").unwrap();
    let [first, mut second] = writers;
    drop(first);
    end(&handles[0]);
    second.write_all(b"ond").unwrap();
    drop(second);
    end(&handles[1]);
    assert_eq!(memories[0].stream_bytes("same"), b"first");
    assert_eq!(memories[1].stream_bytes("same"), b"second");
}

/// A callback is on the butler's thread, where nothing can be waited for.
#[test]
fn callbacks_use_handles() {
    let memory = MemoryOutput::default();
    let handle = started(&memory);
    let inner = handle.clone();
    let callback = Box::new(
        move |descriptor: &butler::proto::logpb::LogStreamDescriptor| {
            if descriptor.name == "first" {
                let mut writer = inner.stream("second").open().unwrap();
                writer.write_all(b"from a callback\n").unwrap();
                assert_eq!(inner.streams().unwrap().len(), 2);
                assert_eq!(inner.snapshot().unwrap().streams_open, 2);
                // This would be for ever.
                drop(inner.wait().wait());
            }
            None
        },
    );
    handle
        .add_stream_registration_callback(callback, false)
        .unwrap();
    drop(handle.stream("first").open().unwrap());
    drop(handle.stream("third").open().unwrap());
    end(&handle);
    assert_eq!(memory.stream_bytes("second"), b"from a callback\n");
    assert_eq!(handle.streams().unwrap().len(), 3);
}

#[test]
fn the_last_handle_ends_the_butler() {
    let drops: [fn(Handle); 3] = [
        drop,
        |handle| {
            let clone = handle.clone();
            drop(handle);
            assert_eq!(clone.snapshot().unwrap().streams, 1);
        },
        |handle| std::thread::spawn(move || drop(handle)).join().unwrap(),
    ];
    for last in drops {
        let memory = MemoryOutput::default();
        let handle = started(&memory);
        let mut writer = handle.stream("open").open().unwrap();
        writer.write_all(b"all of it\nand this").unwrap();
        last(handle);
        assert_eq!(memory.stream_bytes("open"), b"all of it\nand this");
        assert!(memory.is_terminal("open"));
    }
}

/// A runtime is not blocked.
#[test]
fn the_last_handle_in_a_runtime() {
    let memory = MemoryOutput::default();
    memory.stall(true);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        let handle = builder(&memory).start_async().await.unwrap();
        let mut writer = handle.stream("open").open().unwrap();
        writer.write_all(b"all of it").unwrap();
        drop(handle);
        // Only now can it end.
        memory.stall(false);
        until(|| memory.is_terminal("open"));
    });
    assert_eq!(memory.stream_bytes("open"), b"all of it");
}

#[test]
fn what_nobody_is_told_is_logged() {
    assert!(!is_logged("of-the-last"));
    for told in [true, false] {
        let memory = MemoryOutput::default();
        memory.stall(true);
        let short = builder(&memory).flush_timeout(Duration::from_millis(20));
        let handle = short.start().unwrap();
        let name = format!("of-the-last/{told}");
        let mut writer = handle.stream(&name).open().unwrap();
        writer.write_all(b"seven..").unwrap();
        if told {
            let report = handle.shutdown(Duration::ZERO).wait().unwrap();
            assert_eq!(report.losses.len(), 1);
        }
        drop(handle);
        let loss = format!("stream {name}: 7 bytes lost");
        assert_eq!(is_logged(&loss), !told);
        assert_eq!(is_logged(&format!("{name} was still open")), !told);
    }
}

/// What was asked for is not tied to who asked.
#[test]
fn replies_that_are_dropped() {
    fn is_send<T: Send + 'static>(_: &T) {}
    fn is_future<F: Future>(_: &F) {}
    let memory = MemoryOutput::default();
    drop(builder(&memory).start_async());
    let handle = started(&memory);
    let namespace = Namespace::new("").unwrap();
    drop(handle.drain(&namespace, LONG));
    assert!(handle.stream("late").open().is_err());
    let waits = handle.wait();
    is_send(&waits);
    is_future(&waits);
    drop(waits);
    drop(handle.shutdown(Duration::ZERO));
    assert!(handle.wait().wait().unwrap().is_complete());
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    is_shared(&handle);
}
