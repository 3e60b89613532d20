//! Help that is about no subcommand.

use crate::output::KINDS;
use crate::output::kind::Kind;

/// Makes the text of a topic.
type Text = fn() -> String;

/// What `butler help NAME` explains besides the subcommands.
pub(super) const TOPICS: [(&str, Text); 3] = [
    ("outputs", super::outputs),
    ("environment", environment),
    ("glossary", || GLOSSARY.into()),
];

fn environment() -> String {
    let of_output = |kind: &Kind| match kind.environment {
        "" => String::new(),
        lines => format!("\nWith the {} output:\n{lines}", kind.name),
    };
    let of_outputs = KINDS.iter().copied().map(of_output).collect::<String>();
    [OF_BUTLER, &of_outputs, OF_COMMAND].concat()
}

const OF_BUTLER: &str = "\
Environment variables that butler reads. One that is empty counts as not set.

Always:
  TMPDIR                where the directory of its socket is made, unless
                        --stream-server says where that is (default /tmp)
  USER                  a part of the default --prefix (default: the user's
                        number)
  NO_COLOR              butler cat uses no colours
  LOGDOG_STREAM_SERVER_PATH, LOGDOG_NAMESPACE
                        unix:PATH, the socket of the butler that butler stream
                        sends to, unless --output or --stream-server is given;
                        and what the stream's name gets before it then

From a service manager such as systemd:
  LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES
                        a socket that is listened on already
  NOTIFY_SOCKET         who is told that butler is ready, alive and stopping
  WATCHDOG_USEC, WATCHDOG_PID
                        how often it must say that it is alive
";

const OF_COMMAND: &str = "
COMMAND of butler run finds its environment as butler did, without what the
service manager said to butler, and with:
  LOGDOG_STREAM_SERVER_PATH
                        unix:PATH, the socket to open streams at
  LOGDOG_STREAM_PREFIX, LOGDOG_STREAM_PROJECT
                        the prefix and the project of its streams
  LOGDOG_COORDINATOR_HOST
                        the Coordinator; file://DIR with the directory output
Of the last three those are taken away that do not hold for the output.
";

const GLOSSARY: &str = "\
The words of butler and of LogDog, from the small to the large.

  stream          one log: the standard output of a command, a file, or what a
                  program sends over one connection. It is text (lines), binary
                  (bytes) or made of datagrams (messages), and has a name, such
                  as steps/build/stdout
  header          what a program sends first on a connection: name, type and
                  tags of its stream, as JSON
  descriptor      the same as the outputs have it
  tag             a key and a value on a stream, to find it by
  entry           a piece of a stream, with the time at which it was read
  terminal        the last entry of a stream is known: nothing more will come
  bundle          entries of one or many streams that travel together
  message         a bundle as files and sockets hold it, perhaps compressed
  prefix          what the names of all streams of one butler begin with; with
                  the project it makes them unique: PROJECT/PREFIX/+/NAME
  project         whose logs these are
  output          where bundles go: a directory, a file, a socket, LogDog
  spool           a directory where messages wait until the output has them,
                  also when butler has ended (--spool, butler send)
  stream server   the socket of a butler, where programs open their streams

  to drain        when butler ends: to let the streams that are open come to
                  their end (--drain-timeout)
  to flush        then: to deliver what is left (--flush-timeout)
  backpressure    memory is full (--max-buffered): whoever writes waits, and
                  nothing is dropped
  loss            bytes that were taken and could not be delivered: they are
                  counted, reported by stream, and turn the exit status

  LogDog          the log service of LUCI, Chromium's build infrastructure
  Coordinator     its server: it registers prefixes and says where to publish
  Collector       its reader: it takes bundles from Pub/Sub and stores them
";
