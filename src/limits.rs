//! Every bound of the butler in one place, with its reason.
//!
//! Sizes are bytes. What is "exact" here is a rule of the LogDog protocol;
//! the rest was chosen by measurement or to bound memory.
//!
//! Those that are of use in one room only stand there, beside what they bound:
//!
//! * `bundler`: `NEARLY_FULL`, `PAYLOAD_MIN`, `SPARE_BYTES_MAX`, `SPARE_MAX`
//! * `butler`: `FOREVER`, `OFFER_PAUSE_NS`, `ROUNDS`
//! * `cli`: `BUFFER`, `CHUNK`, `HEAD`, `HOLD_NS`, `LOOK_INTERVAL`, `MEANT_MAX`,
//!   `NAMED`, `OFFER_INTERVAL`, `ONE_DECISION_NS`, `PIPE_SIZE`, `SHOW_INTERVAL`,
//!   `WIDTH_MAX`
//! * `core`: `DESCRIPTORS_BACK_NS`, `LAST_AT_A_TIME`, `READY_BATCH`,
//!   `TELL_AGAIN_NS`
//! * `delivery`: `COPY_MAX`, `ENTRY_OVERHEAD_MAX`, `KEPT_COPY_MAX`
//! * `edge`: `ACCEPTS`, `CLAIM_WAIT`, `CLAIM_WAITS`, `COMPLETIONS`, `EVENTS`,
//!   `GONE_WAIT`, `GONE_WAITS`, `LOOKED_AT`, `MESSAGES_AT_ONCE`, `PART`, `ROUND`,
//!   `SPARE_DESCRIPTORS`, `SUBMISSIONS`, `TAKEN_AT_ONCE`, `UNIX_SEND_BUFFER`
//! * `memory`: `BESIDE`, `LEAST`
//! * `output`: `ASSERTION_LIFETIME`, `ATTEMPTS`, `BUSY_MAX`, `CHUNK`,
//!   `CHUNKS_AT_ONCE`, `CLOCK_SKEW`, `COPIES`, `COMPACT_MIN`, `COPIED`, `CREATE_ATTEMPTS`,
//!   `DRAINS_AT_ONCE`, `HEAD_MAX`, `HEARD_AT_ONCE`, `LINKS_MAX`, `LOCK_TRIES`,
//!   `LOCK_WAIT`, `PER_PIECE`, `PER_STREAM`, `PREVIEW`, `READS_AT_ONCE`, `READ_ATTEMPTS`,
//!   `RUN`, `SPARE_BYTES_MAX`, `STREAMS_TOLD`
//! * `process`: `ANSWER_TIMEOUT`
//! * `read`: `KEPT`, `LATER_MAX`, `NAMED_MAX`, `NOT_READ_COST`, `OVERHEAD`,
//!   `PATIENCE_POLLS`, `POLL`, `READ`, `WALK_POLLS`, `WITHIN_TOLD_MAX`
//! * `spool`: `READ`, `RUN_MAX`, `SEARCHED`
//! * `units`: `DURATION_MAX_NS`, `FRACTION_DIGITS_MAX`
//! * `watch`: `EVENT_COST`
//! * `wire`: `BUFFER`, `DATA_MAX`, `FRAMES_LEN_MAX`, `FRONT_LEN_MAX`, `HEAD_LEN_MAX`,
//!   `HEAD_MAX`, `LEN_MAX`, `MESSAGE_LEN_MAX`, `METADATA_MAX`, `OVERHEAD_MAX`,
//!   `PIECE`, `READ_MIN`, `SECONDS_MAX`, `SECONDS_MIN`, `SHORT_MAX`, `TAIL_MAX`,
//!   `WINDOW`

use std::time::Duration;

/// A stream's JSON header at most (protocol).
pub const HEADER_JSON_MAX: usize = 1024 * 1024;
/// What all unfinished headers together may hold. A header of a real client
/// is a few hundred bytes and comes at once; this keeps clients that stall in
/// theirs, many in small ones or a few in large ones, from eating the memory
/// of everyone else. Who finds no room waits, unread.
pub const HEADERS_BUFFERED_MAX: usize = 8 * 1024 * 1024;
/// The part of it that is kept for one client at a time: for the largest header,
/// also while it moves to a larger piece of memory.
pub const HEADER_FAVOUR: usize = 2 * HEADER_JSON_MAX + 2 * READ_BUFFER_SIZE;
/// Who holds some of it and has not written for so long is refused while others
/// wait for room: longer than a client that writes is kept from running.
pub const HEADER_STALL: Duration = Duration::from_secs(1);
/// How long is looked once more then whether it has written meanwhile.
pub const HEADER_STALL_LOOK: Duration = Duration::from_millis(100);
/// How long a client may take over its header.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The last part of that time: it does not begin before we have run, so that
/// what was written in time is read.
pub const HEADER_LAST_LOOK: Duration = Duration::from_secs(1);
/// How long, once the butler is to end: whoever stalls does not hold it up.
pub const HEADER_GRACE: Duration = Duration::from_secs(1);

/// Bytes of its own log that a butler keeps for a stderr that takes nothing.
pub const LOG_KEPT_MAX: usize = 64 * 1024;
/// How long it waits at its end for somebody to read them.
pub const LOG_LAST_WAIT: Duration = Duration::from_secs(1);

/// A captured stream is not read while so much of it waits to be shown: its
/// command waits for whoever looks at it, as it would without us.
pub const SHOWN_WAITING_MAX: usize = 256 * 1024;
/// The same once the command has ended, so that what it left in its pipe, which
/// has up to 1 MiB, is delivered whether or not it is shown.
pub const SHOWN_WAITING_AT_END: usize = SHOWN_WAITING_MAX + 1024 * 1024;
/// So much is written at a time of what is shown: what a pipe holds.
pub const SHOWN_PIECE: usize = 64 * 1024;
/// The same once nobody is waited for who takes nothing: what a pipe that says
/// it is ready takes at once.
pub const SHOWN_PIECE_AT_END: usize = 4096;
/// How long what one stream shows is held back because another's line is not
/// finished: longer than a program takes to go on with it, and no longer than
/// people wait without wondering.
pub const SHOWN_HELD_TIME: Duration = Duration::from_millis(500);
/// How much is held back for that.
pub const SHOWN_HELD_MAX: usize = 64 * 1024;

/// A stream name or a prefix at most (protocol).
pub const STREAM_NAME_MAX: usize = 4096;
/// A tag key at most (protocol).
pub const TAG_KEY_MAX: usize = 64;
/// A tag value at most (protocol).
pub const TAG_VALUE_MAX: usize = 4096;
/// A Unix socket's path at most (protocol; the kernel would take 107).
pub const SOCKET_PATH_MAX: usize = 104;
/// A datagram at most (protocol).
pub const DATAGRAM_MAX: u64 = 10 * 1024 * 1024;

/// Unfinished data of one stream at most: a longer line or datagram flows
/// through in parts (the reference's stream buffer).
pub const STREAM_BUFFER_MAX: usize = 5 * 1024 * 1024;
/// What all streams that hold nothing unfinished may keep of their buffers,
/// so that the next unfinished line costs no allocation. It does not count as
/// buffered: nothing could make room by leaving.
pub const IDLE_BUFFERS_MAX: usize = 4 * 1024 * 1024;
/// Bytes of free segments, in which entries are staged, that are kept when
/// nothing is staged any more. They do not count as buffered either.
pub const SEGMENTS_KEPT_MAX: usize = 4 * 1024 * 1024;
/// A longer line reaches a callback that sees whole lines in parts after all,
/// so that its memory is bounded.
pub const WHOLE_LINE_MAX: usize = 16 * 1024 * 1024;
/// A page of memory.
pub const PAGE: usize = 4096;
/// Memory that a client makes us hold has pages of its own from this size on,
/// which go back to the kernel when it is freed. What is smaller leaves holes
/// where it was: of a stream, no more than this in all sizes together.
pub const OWN_PAGES_MIN: usize = 4000;
/// Young binary data below this waits for more (protocol).
pub const BINARY_ENTRY_MIN: usize = 8 * 1024;

/// The Collector refuses a bundle of more (10 MiB less one byte).
pub const BUNDLE_MAX: usize = 10_485_759;
/// Pub/Sub takes bundles up to this, before framing.
pub const BUNDLE_PUBSUB_MAX: usize = 5_000_000;
/// What a bundle is filled to while the output is busy with others. Less, and each
/// costs a wake-up of whoever reads it more often, and where many streams write a
/// little, more descriptors.
pub const BUNDLE_TARGET: usize = 1024 * 1024;
/// What is enough for an output that waits, unless it compresses: with what a read
/// adds it is still in the cache when it is written. Figures in `perf/README.md`.
pub const BUNDLE_EARLY: usize = 256 * 1024;
/// A message framing a bundle is compressed from this size on (protocol).
pub const COMPRESS_MIN: usize = 860;

/// Bytes a stream may carry: 90 % of 5 GiB (protocol's default).
pub const STREAM_SIZE_MAX: u64 = 4_831_838_208;
/// All that is buffered over streams and outputs, by default.
pub const BUFFERED_MAX: u64 = 64 * 1024 * 1024;
/// The least that may be buffered over all: room for one bundle being filled,
/// one being written, and the largest one an output can ask for.
pub const BUFFERED_MIN: u64 = 4 * 1024 * 1024;
/// Watchers may hold one part in so many of it, all together: half of that in
/// their queues, the rest in lines and datagrams that are not whole yet. By
/// default one of 16 MiB fits.
pub const WATCHED_SHARE: u64 = 2;
/// How long data waits for company in a bundle, by default.
pub const BUFFER_AGE_MAX: Duration = Duration::from_secs(5);
/// How long open streams may go on after the first SIGTERM, by default.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the outputs may take to deliver what is left at the end.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(120);

/// Once nobody is to be waited for any more: how long one bundle may still take
/// to be delivered. Whoever takes it in time gets the next one. It is a wait, as
/// a reader must be scheduled to read.
pub const LAST_OFFER_STEP: Duration = Duration::from_millis(100);
/// All of them together, and what was written before it is read: less than
/// [`DEADLINE_MARGIN`].
pub const LAST_OFFER_MAX: Duration = Duration::from_millis(300);

/// A message that its output has not taken for so long goes to the spool: longer
/// than one that works needs, and short, as who has only memory may die.
pub const SPOOL_PATIENCE: Duration = Duration::from_secs(1);

/// After that a disk may take what is left at the end: far longer than any that
/// works needs for all that memory may hold.
pub const RETREAT_MAX: Duration = Duration::from_secs(10);

/// First and longest wait between attempts of an output.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// See [`BACKOFF_FIRST`].
pub const BACKOFF_LONGEST: Duration = Duration::from_secs(30);

/// Slices in one vectored write at most (the kernel's IOV_MAX).
pub const WRITE_SLICES_MAX: usize = 1024;
/// How long one address of an output may take to answer: what drops packets
/// would otherwise keep the others waiting for two minutes.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long, after a TLS handshake, the server may take to refuse our certificate:
/// in TLS 1.3 what is sent by then would be lost without being told. Servers say
/// something at once, as a rule, and are then not waited for.
pub const TLS_REFUSAL_WAIT: Duration = Duration::from_secs(1);
/// How long the peer of a TCP output may take at the end to close its half,
/// which tells that it has read all.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// What the far end of a socket output answers at most, at a time: a number, and
/// a sentence or two.
pub const ACK_FRAME_MAX: usize = 4096;
/// Messages that a socket output has sent, or is sending, before the first of
/// them is acknowledged: so many small ones are under way on a connection of
/// 50 ms that each 200 µs another leaves.
pub const ACK_WINDOW_MESSAGES: usize = 256;
/// The same in bytes of memory, which are part of what may be buffered: a
/// connection of 50 ms carries 160 MB/s with it.
pub const ACK_WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// How long the far end may take nothing and acknowledge nothing of what it has
/// until it is taken for dead, and its messages go to the next connection:
/// longer than a disk that is busy takes to sync, and much shorter than the
/// quarter of an hour after which TCP gives up a peer that is gone.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(60);
/// How long nothing may happen on a TCP connection until the kernel asks
/// whether the peer is still there.
pub const TCP_KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// How often a file output looks whether its path still leads to its file.
pub const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Read buffers of all streams together: few enough that what was read is
/// still in the cache when it is parsed. A stream that finds none free waits
/// for its turn.
pub const READ_BUFFERS: u16 = 4;
/// See [`READ_BUFFERS`].
pub const READ_BUFFER_SIZE: usize = 128 * 1024;

/// How many bundles may wait for an output that takes them at a good pace,
/// besides those that it has.
pub const AHEAD_BUNDLES: usize = 1;
/// What that pace is: one in 20 ms. A slower output is read ahead of, up to
/// what may be buffered.
pub const AHEAD_WAIT: Duration = Duration::from_millis(20);
/// Connections that may wait to be accepted, and that are still taken at the
/// end: who connects all the time does not hold that up.
pub const BACKLOG: u32 = 4096;
/// What the edge handles in one round at most, so that the others have a turn:
/// connections that come faster than they go would make it endless.
pub const ROUND_MAX: usize = 1024;
/// How long to wait before accepting again when descriptors have run out.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What a reader holds of what it knows of streams, by [`READER_STREAM_COST`]:
/// some 400,000 of them with short names, 50,000 with the longest. With what
/// follows, and with what `cat` holds, it needs less than 512 MiB, whatever it
/// reads.
pub const READER_STREAMS_MAX: usize = 256 * 1024 * 1024;
/// What a stream costs it, besides its names and tags, about; what `cat` has of
/// a stream is in it.
pub const READER_STREAM_COST: usize = 640;
/// What a tag costs it besides key and value, about.
pub const READER_TAG_COST: usize = 160;
/// Runs with the same prefix, in files, that it tells apart.
pub const READER_RUNS_MAX: u32 = 1000;
/// What it holds of entries that came before their turn: so much of those
/// early in their own stream, and as much of those early among the streams.
/// Our own outputs are in order, or out of it by a bundle or two. `cat` holds
/// as much of lines that are not complete.
pub const READER_HELD_MAX: usize = 64 * 1024 * 1024;
/// A longer line is given, and shown, in pieces where it can't be passed
/// through.
pub const READER_LINE_MAX: usize = 1024 * 1024;
/// A descriptor's JSON file at most: a header's, with a good many global tags.
pub const META_JSON_MAX: u64 = 8 * 1024 * 1024;
/// The list of a directory's streams at most, as it is read: a million
/// names, or fewer long ones.
pub const RUN_MARK_MAX: u64 = 64 * 1024 * 1024;
/// As many at most, which take 32 MiB there.
pub const RUN_MARK_STREAMS_MAX: usize = 1_500_000;
/// Names of new streams that an output which stands still has not heard of
/// yet, at most.
pub const REGISTRATIONS_MAX: usize = 1024;
/// Files that the directory output keeps open: at most a quarter of what the
/// process may open, in these bounds. The rest is for clients.
pub const OPEN_FILES_MIN: usize = 16;
/// See [`OPEN_FILES_MIN`].
pub const OPEN_FILES_MAX: usize = 4096;
/// Descriptors that the directory output keeps back, so that it goes on when
/// clients have all others: what it needs at a time, which is a way of
/// directories, a file, and a descriptor's draft, and some.
pub const DIRECTORY_SPARE: usize = 8;
/// A longer segment of a stream name is shortened on disk, where a file name
/// has at most 255 bytes: the rest is for what marks descriptors and
/// datagrams.
pub const COMPONENT_MAX: usize = 200;
/// Segments that a stream's name has on disk: of a name with more, all that is
/// behind the 31st is one. Each is a directory to make and to walk through, so
/// this bounds what a name of 4 KiB may cost: 33 inodes for a stream of one
/// byte. Names of real jobs have ten at most.
pub const DEPTH_MAX: usize = 32;
/// How often the name of a stream's file may be taken by something else, so
/// that the file stands beside it, before we wait for a better time.
pub const DISPLACED_MAX: usize = 32;
/// How often the directory output looks whether a stream's file that it writes
/// to is still there. (Whether the directory itself is, it looks for each
/// bundle.)
pub const LINK_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// What the directory output keeps of streams whose own file can't be written,
/// all together: the rest is lost. Other streams do not wait for it.
pub const HELD_MAX: usize = 1024 * 1024;
/// How long it is tried to write a stream's file before what is kept of that
/// stream is lost. (What a full disk refuses is not that file's fault: that is
/// waited for.)
pub const PATH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long small writes are let gather before they are read, at most, in
/// microseconds.
pub const PACE_WAIT_MAX_US: u64 = 1000;
/// A read of this much shortens that wait. A socket's buffer takes a few
/// hundred writes of any size, 200 KiB at most.
pub const PACE_READ_MAX: usize = 4096;

/// An access token at most (Google's have 2 KiB): it is looked for in whatever a
/// peer says.
pub const TOKEN_MAX: usize = 16 * 1024;

/// What is shown of what a peer said: enough for a sentence.
pub const PEER_TEXT_MAX: usize = 200;

/// A message is never published that is larger (Pub/Sub's limit of a request,
/// which the emulator does not enforce).
pub const PUBLISH_MESSAGE_MAX: usize = 10_000_000;
/// Publishes under way at a time.
pub const PUBLISHES_MAX: usize = 16;
/// No publish begins while the messages of those under way have so many
/// bytes, or a quarter of what may be buffered. Each takes up to twice that
/// while it is written to the connection.
pub const PUBLISHES_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long a call to the Coordinator, a publish, or a call for a token may
/// take before it is tried again.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// First wait after a call that failed; it doubles up to
/// [`BACKOFF_LONGEST`].
pub const CALL_BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// How long the Coordinator is asked again when it fails: a job whose logs
/// have nowhere to go does not wait for ever to begin.
pub const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(300);
/// With a spool, how long the Coordinator and Pub/Sub are waited for at the
/// start: what takes longer has time while the job runs, which is not kept from
/// its work by what is away. One that works answers in less than a second.
pub const START_WAIT: Duration = Duration::from_secs(10);
/// For how long a Coordinator may say that it is to be left alone.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// How long the metadata server may take to answer when it is not known that
/// there is one.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(3);
/// A token is renewed when less than this is left of it, or less than half of
/// what it had when it came.
pub const TOKEN_MARGIN: Duration = Duration::from_secs(60);
/// The answer of a Coordinator or a token server at most; real ones have less
/// than 4 KiB.
pub const HTTP_ANSWER_MAX: usize = 1024 * 1024;
/// An idle connection to Pub/Sub is asked this often whether it is alive.
pub const PUBSUB_PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long a connection to Pub/Sub may take to answer that.
pub const PUBSUB_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The Coordinator's secret, exactly (protocol).
pub const SECRET_LEN: usize = 36;
/// Bytes that it takes in a bundle.
pub const SECRET_FIELD_MAX: usize = 2 + SECRET_LEN;
/// The nonce of a registration, exactly (protocol).
pub const NONCE_LEN: usize = 32;
/// Bytes that the segments of a spool may take, by default.
pub const SPOOL_MAX: u64 = 1024 * 1024 * 1024;
/// The least that may be said of it: room for the largest message, whatever the
/// others take that are not done.
pub const SPOOL_MAX_MIN: u64 = 32 * 1024 * 1024;
/// A segment of a spool is filled to this. Disk is only given back by whole
/// ones; and each costs two syncs, and something to keep in mind.
pub const SPOOL_SEGMENT_MAX: u64 = 64 * 1024 * 1024;
/// A spool that may take little is in so many segments at least.
pub const SPOOL_SEGMENTS: u64 = 8;
/// How long what is in a spool may wait until it outlives the machine, by default.
pub const SPOOL_SYNC: Duration = Duration::from_millis(100);
/// How long it may wait that something was delivered, which makes messages go
/// out again after the machine has died.
pub const SPOOL_ACKS_SYNC: Duration = Duration::from_secs(1);
/// How long until something is read again that could not be.
pub const SPOOL_RETRY: Duration = Duration::from_secs(1);
/// What is said of a message in a spool beside it at most: it says less of each
/// stream than the message itself.
pub const SPOOL_MANIFEST_MAX: usize = BUNDLE_MAX;
/// Damaged segments that a spool keeps for those who want to know.
pub const SPOOL_CORRUPT_MAX: usize = 4;
/// How long before LUCI's deadline the flush ends, so that what was lost can
/// still be told.
pub const DEADLINE_MARGIN: Duration = Duration::from_millis(500);

/// What resident memory may be besides all that depends on something: the
/// program, read buffers (1 MiB), unfinished headers (8 MiB), buffers of idle
/// streams (4 MiB), a bundle being compressed, what the allocator can't use.
pub const RESIDENT_BESIDES: u64 = 32 * 1024 * 1024;
/// What an open stream takes, besides its descriptor.
pub const RESIDENT_PER_STREAM: u64 = 2048;
/// What a name takes that was used, besides itself: it is remembered for
/// ever, in a table that may just have grown; and, by the directory output,
/// how many bytes its stream had.
pub const RESIDENT_PER_NAME: u64 = 208;

/// What the bound on resident memory depends on.
///
/// It holds for outputs on this machine (all but logdog, whose publishes that
/// are under way come on top: see [`PUBLISHES_BYTES_MAX`]).
#[derive(Debug, Clone, Copy)]
pub struct Resident {
    /// [`Config::max_buffered`](crate::Config::max_buffered).
    pub buffered_max: u64,
    /// Streams that are open at the same time, at most.
    pub open_streams: u64,
    /// Bytes of their descriptors, as they are sent.
    pub descriptor_bytes: u64,
    /// Streams that there ever were.
    pub names: u64,
    /// Bytes of their names.
    pub name_bytes: u64,
}

impl Resident {
    /// Resident memory at most, in bytes: each descriptor is kept twice, as
    /// values and as it is sent.
    pub const fn max(&self) -> u64 {
        RESIDENT_BESIDES
            + self.buffered_max
            + self.open_streams * RESIDENT_PER_STREAM
            + self.descriptor_bytes * 2
            + self.names * RESIDENT_PER_NAME
            + self.name_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::sources;

    /// What the name of a bound ends with, as a rule.
    const ENDS: [&str; 9] = [
        "_MAX",
        "_MIN",
        "_TIMEOUT",
        "_WAIT",
        "_WAITS",
        "_INTERVAL",
        "_TRIES",
        "ATTEMPTS",
        "_IDLE",
    ];

    /// The rooms and bounds of the list at the top: `* `room`: `BOUND`, ...`.
    fn listed() -> BTreeSet<(String, String)> {
        let mut listed = BTreeSet::new();
        let mut room = "";
        for line in include_str!("limits.rs").lines() {
            let Some(line) = line.strip_prefix("//! ") else {
                continue;
            };
            for word in line.split('`').skip(1).step_by(2) {
                if line.starts_with(&format!("* `{word}`:")) {
                    room = word;
                } else if !room.is_empty() {
                    listed.insert((room.to_owned(), word.to_owned()));
                }
            }
        }
        listed
    }

    /// Every bound stands here, or is listed here and stands in its room.
    #[test]
    fn the_list_is_complete() {
        let listed = listed();
        let mut found = BTreeSet::new();
        sources::each(|path, source| {
            let room = path.split(['/', '.']).next().unwrap();
            let in_tests = path.contains("tests") || path == "limits.rs";
            let product = source.split("#[cfg(test)]\nmod ").next().unwrap();
            for rest in product.split("const ").skip(1).filter(|_| !in_tests) {
                let Some((name, _)) = rest.split_once(": ") else {
                    continue;
                };
                let it = (room.to_owned(), name.to_owned());
                let is_named_so = ENDS.iter().any(|end| name.ends_with(end));
                assert!(
                    !is_named_so || listed.contains(&it),
                    "{it:?} of {path} is not listed"
                );
                found.insert(it);
            }
        });
        let gone: Vec<_> = listed.difference(&found).collect();
        assert!(gone.is_empty(), "{gone:?}");
    }
}
