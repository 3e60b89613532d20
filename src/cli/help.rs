//! The help texts, at most 80 columns wide.

mod topics;

use super::table::Subcommand;
use crate::output::KINDS;

/// The help of that name: of a subcommand, or of what concerns several.
pub fn named(name: &str) -> Option<String> {
    if let Some(one) = Subcommand::from_name(name) {
        return Some(text(Some(one)));
    }
    let found = topics::TOPICS.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| text())
}

/// What [`named`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    let topics = topics::TOPICS.into_iter().map(|(name, _)| name);
    Subcommand::ALL
        .into_iter()
        .map(Subcommand::as_str)
        .chain(topics)
}

/// The help of a subcommand, or of butler as a whole.
pub fn text(topic: Option<Subcommand>) -> String {
    match topic {
        None | Some(Subcommand::Help | Subcommand::Version) => {
            let outputs = outputs();
            [BUTLER, COMMON, "\n", &outputs, EXIT_STATUS].concat()
        }
        Some(Subcommand::Serve) => [SERVE, SEE_BUTLER].concat(),
        Some(Subcommand::Run) => [RUN, SEE_BUTLER].concat(),
        Some(Subcommand::Stream) => [STREAM, SEE_BUTLER].concat(),
        Some(Subcommand::Send) => [SEND, SEE_BUTLER].concat(),
        Some(Subcommand::Cat) => CAT.into(),
    }
}

/// The outputs that `--output` may name.
pub fn outputs() -> String {
    let outputs = KINDS.iter().map(|kind| kind.help).collect::<String>();
    [OUTPUTS_BEGIN, &outputs, OUTPUTS_END].concat()
}

const BUTLER: &str = "\
butler collects the logs of a job and delivers them, losing nothing.

Each log is a stream: the standard output of a command, a file, or whatever a
program sends to butler's socket. Streams are cut into entries, entries are
packed into bundles, and bundles go to an output: a directory to look into, a
file, a socket, or a LogDog service.

Usage:
  butler [OPTIONS] [serve]                      wait for streams (the default)
  butler [OPTIONS] run [RUN-OPTIONS] [--] COMMAND [ARG...]
                                                run COMMAND, capture its output
  butler [OPTIONS] stream [STREAM-OPTIONS]      deliver one file, or stdin
  butler [OPTIONS] send [--keep] DIR...         deliver what waits in spools
  butler cat [CAT-OPTIONS] [PATH...]            read back what was written
  butler help [SUBCOMMAND|TOPIC]                explain one: the topics are
                                                outputs, environment, glossary
  butler version                                print the version

To begin with, this captures what make prints, and shows it again:
  butler run -- make
  butler cat

Options may stand before or after the subcommand, as --name VALUE, --name=VALUE,
-name VALUE or -name=VALUE; -- ends them. A DUR is like 100ms, 5s or 1m30s, a
SIZE is in bytes or like 512KiB, 64MiB or 1GiB. Of an option that is given twice
the last one counts, except for --tag and --allow-uid.
";

const COMMON: &str = "
Options:
  --output SPEC         where the logs go, see below
                        (default: a new directory for each run,
                        butler-logs/TIME-PID, and butler-logs/latest leads to
                        the last one)
  --stream-server unix:PATH
                        the socket that clients connect to, at most 104 bytes
                        (default: a new one in a private directory);
                        --streamserver-uri unix:PATH is the same. With stream,
                        that of the butler that the stream is sent to
  --allow-uid UID       take streams of that user too, not only of one's own and
                        root; may be given many times. The socket is then open
                        to all, and others are turned away when they connect
  --project NAME        the project the logs belong to (default local; the
                        logdog output needs one)
  --prefix NAME         what all stream names in the project begin with
                        (default butler/users/USER/RANDOM)
  --tag KEY[=VALUE]     put a tag on every stream that has not that key itself;
                        may be given many times
  --coordinator-host HOST
                        the Coordinator of the logdog output, which needs it;
                        COMMAND is told of it in its environment
  --output-max-buffer-age DUR
                        how long data waits for more before it is sent
                        (default 5s)
  --output-no-buffer    send at once
  --max-buffered SIZE   how much is kept in memory; when it is full, writers
                        wait and nothing is dropped (default 64MiB, least 4MiB)
  --spool DIR[,max=SIZE][,sync=always|DUR|never][,when=always|overflow]
          [,full=wait|drop-newest]
                        keep in DIR what unix, tcp or logdog does not take in
                        time, or (when=always) all until it is delivered; what
                        is left at the end the next butler sends, or butler send
                        (default max=1GiB, sync=100ms, when=overflow, full=wait)
  --max-stream-size SIZE
                        what a stream may carry; the rest of it is discarded
                        with a notice (default 4831838208)
  --drain-timeout DUR   after a first SIGTERM or SIGINT, how long open streams
                        may go on (default 5s)
  --flush-timeout DUR   at the end, how long the output may take for what is
                        left before it is reported as lost (default 2m)
  --raw                 let the log output print control characters as they are
  --sandbox auto|off    give up what is not needed once it has started, as far
                        as the kernel can do that (default auto)
  --fail-on-loss        run exits with 250 if logs were lost
  --stats-path FILE     write statistics there at exit, as JSON; what an earlier
                        run left there is removed at the start
  --io auto|uring|epoll how to work with the kernel: io_uring, or epoll where it
                        is refused, with a warning (auto, the default); or
                        always one of the two
  --log-level LEVEL     what butler itself says on stderr: debug, info, warning
                        or error (default warning)
  --quiet               don't say where the logs are when run has ended, nor on
                        a terminal what serve waits for
  --service-account-json PATH
                        the key file of the account that the logdog output uses,
                        or :gce for the machine's own (default: the account that
                        LUCI_CONTEXT has, or else the machine's own)
  --realm none|auto|NAME
                        the LUCI realm that the logdog output registers in: none
                        (the default), that of LUCI_CONTEXT, or NAME. In a realm
                        the account system of LUCI_CONTEXT publishes
  -h, --help            explain butler, or the subcommand it is given after
  -V, --version         print the version
";

const OUTPUTS_BEGIN: &str = "\
Outputs, for --output SPEC:
";

const OUTPUTS_END: &str = "  help                  print this list
Commas end values, except in \"quotes\"; \\ takes the next character as it is.
Messages of file, unix and tcp have no secret: a LogDog Collector refuses them.
";

const EXIT_STATUS: &str = "
Exit status:
  run                   that of COMMAND; 128+N if signal N ended it; 126 if it
                        can't be executed, 127 if it is not found. Lost logs are
                        reported, and are 250 with --fail-on-loss only
  serve, stream         0 if all was delivered, or waits in a spool; 250 if not
  send                  0 if all was delivered, 250 if not
  any                   2 if the command line is wrong, 250 if butler failed
";

const SEE_BUTLER: &str = "
The options of 'butler help' may be given too; 'butler run --output help' lists
where streams can go.
";

const SERVE: &str = "\
butler serve waits for programs that connect to its socket and delivers what
they send, until it gets SIGTERM, SIGINT, SIGHUP or SIGQUIT.

Usage:
  butler [OPTIONS] [serve]

Unless --stream-server says where the socket is, it is a new one, and its
address, unix:PATH, is the first line on stdout. The LogDog client libraries
look for the address in the variable LOGDOG_STREAM_SERVER_PATH. A connection is
a stream: a header that names it, then its data until the connection is closed.
A name may be used once.

At the first signal the streams that are open may go on for --drain-timeout,
then all is flushed. Another one, a second or more later, ends butler at once:
what the output takes without being waited for is delivered, and the rest is
reported. A signal that was ignored when butler was started has no effect.
SIGUSR1 tells the statistics.

Example:
  butler --stream-server unix:/run/butler.sock --output directory,path=logs &
  LOGDOG_STREAM_SERVER_PATH=unix:/run/butler.sock some-client
";

const RUN: &str = "\
butler run runs a command and delivers what it prints.

Usage:
  butler [OPTIONS] run [RUN-OPTIONS] [--] COMMAND [ARG...]

A stream is one log with a name of its own. What COMMAND writes to its standard
output becomes the stream stdout, and its standard error the stream stderr. It
can open more of them: the variable LOGDOG_STREAM_SERVER_PATH tells it butler's
socket, which the LogDog client libraries use. Butler delivers all of them, then
exits as COMMAND did. Nothing after the beginning of COMMAND is read as an
option of butler.

COMMAND gets the signals SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2
that are sent to butler, and each once, also of a terminal. SIGTERM or SIGINT
sends what is buffered at once; the same one again, a second or more later,
kills COMMAND.

Without --output the last line on butler's standard error says how COMMAND
ended and where its logs are; --quiet or --log-level error leave it out.

COMMAND is found and executed as by execvp(3): a script without #! is run by sh.
It has the descriptors that butler was started with, such as make's jobserver,
and its standard input is /dev/null. Its output is a pipe, not a terminal. If a
process that it leaves behind keeps that open, it is cut --drain-timeout after
COMMAND's end, with a warning.

Options of run:
  --stdout KEY=VALUE,...
  --stderr KEY=VALUE,...
                        describe one of the two streams by these keys:
                          name          its name; without one COMMAND prints
                                        to where butler does, uncaptured
                          type          text (default), binary or datagram
                          content-type  a MIME type (default: by type)
                          tag           a tag, as in tag=KEY=VALUE; repeatable
                        If one of the options is given without the other, the
                        other one is not captured. If none is, both are, and
                        they are shown as well
  --tee[=false]         also show what is captured, or not (default: show it if
                        neither --stdout nor --stderr is given and the output
                        itself does not print there). COMMAND waits for whoever
                        looks at it, as without butler; who stops looking ends
                        what is shown, not COMMAND
  --attach=false        discard both of them, uncaptured
  --forward-stdin       let COMMAND read butler's standard input
  --chdir DIR           run COMMAND in that directory
  --result-path FILE    write {\"return_code\":N,\"command\":[...]} there at the
                        end, also when COMMAND could not be run. What an earlier
                        run left there is removed at the start
  --json-args-path FILE read COMMAND from there, as a JSON array of strings

Examples:
  butler run -- make -j4
      puts the logs into butler-logs/latest/stdout and .../stderr, and shows
      them as well
  butler --output file,path=job.logs --tag builder=linux \\
      run --stdout name=steps/test,tag=kind=test -- ./test.sh --all
      captures the standard output as the stream steps/test; read it back with
      butler cat --stream steps/test job.logs
";

const STREAM: &str = "\
butler stream delivers one file, or its standard input, as one stream.

Usage:
  butler [OPTIONS] stream [STREAM-OPTIONS]

Who delivers it is decided by what is given:
  --output SPEC         this butler, there; others don't matter
  --stream-server unix:PATH
                        the butler that listens at PATH: the stream is sent to
                        it, and its options, not those given here, say what
                        becomes of the stream. Exit status 0 if it took all of
                        it, 250 if not, or if nobody listens there
  neither               the same with the one that LOGDOG_STREAM_SERVER_PATH
                        names, as in the COMMAND of butler run; the name gets
                        LOGDOG_NAMESPACE before it, if that is set
  nor the variable      this butler, into butler-logs

Options of stream:
  --source FILE         what to read; - is the standard input (default -)
  --stream KEY=VALUE,...
                        describe the stream by these keys:
                          name          its name (default: stdin, or a name made
                                        of FILE: /var/log/x is file:_var_log_x)
                          type          text (default), binary or datagram
                          content-type  a MIME type (default: by type)
                          tag           a tag, as in tag=KEY=VALUE; repeatable

Examples:
  make 2>&1 | butler stream --stream name=make
  butler stream --source core.gz --stream name=core,type=binary
  butler run -- sh -c 'date | butler stream --stream name=when'
";

const SEND: &str = "\
butler send delivers what waits in spools, as butler --spool DIR leaves it there
when its output does not take all in time, or when it is killed.

Usage:
  butler [OPTIONS] send [--keep] DIR...

Messages go to --output, which must be unix, tcp or logdog, with the prefix that
they had, each stream's in order. What is delivered leaves the spool. What has
been sent, but is not known to be delivered, is sent again the next time, byte
for byte the same. A spool whose butler is running is that butler's to send.

It ends when all is delivered, or when nothing was for --flush-timeout; what is
left then waits in the spool still. A first SIGTERM or SIGINT lets the messages
that are under way come to their end, a second one does not. SIGUSR1 tells the
statistics. On a terminal it shows how far it is, unless --quiet is given.

The logdog output needs neither --project nor --coordinator-host here: messages
know theirs.

Option of send:
  --keep                leave the spools as they are

Example:
  butler run --spool wait --output tcp:logs.example:9 -- make
  butler send wait --output tcp:logs.example:9
";

const CAT: &str = "\
butler cat prints the streams that outputs wrote: a file, or a directory. Of a
spool, or one of its segments, it prints what waits there, and what was
delivered a moment ago; the butler that has the spool may be running. Of a
directory where several runs have written it prints those of the last run, and
the others if --stream selects them; --list tells which are which.

Usage:
  butler cat [CAT-OPTIONS] [PATH...]            (default: the last run that is
                                                in butler-logs)

Options of cat:
  --stream NAME|GLOB    only the streams of that name, such as stdout or
                        'steps/*' (default: all)
  --list                print a table of the streams instead
  --timestamps          put its time before every line; a directory has none
  --json                print JSON, one object a line
  --follow              go on as the output grows
  --raw                 print control characters even on a terminal
  --log-level LEVEL     what butler itself says on stderr: debug, info, warning
                        or error (default warning)

Examples:
  butler cat
  butler cat --list job.logs
  butler cat --stream 'steps/*' --timestamps job.logs
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::option::{OPTIONS, Takes};
    use crate::sources;

    #[test]
    fn fits_a_terminal() {
        let named = names().filter_map(named);
        for text in named.chain([text(None), outputs()]) {
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{line}");
                assert_eq!(line, line.trim_end());
            }
            assert!(text.ends_with('\n') && !text.starts_with('\n'));
        }
    }

    #[test]
    fn every_topic_is_in_the_overview() {
        for name in names() {
            assert!(named(name).is_some());
            assert!(text(None).contains(name), "{name}");
        }
        assert_eq!(named("x"), None);
    }

    #[test]
    fn explains_every_variable() {
        let help = named("environment").unwrap();
        let mut count = 0;
        sources::each(|_, source| {
            for call in ["var(\"", "var_os(\"", "variable(\""] {
                for after in source.split(call).skip(1) {
                    let name = after.split('"').next().unwrap();
                    count += 1;
                    let is_known = help.contains(name) || name.starts_with("BUTLER_");
                    assert!(is_known, "{name} is not in the help");
                }
            }
        });
        assert!(count > 5, "{count}");
    }

    #[test]
    fn explains_every_option() {
        for option in &OPTIONS {
            let common = option.of.contains(&Subcommand::Serve);
            let topics = match common {
                true => &[Subcommand::Help],
                false => option.of,
            };
            let value = match option.takes {
                Takes::Value(_) => " ",
                Takes::Switch(_) | Takes::Answer(_) => "",
            };
            for topic in topics {
                let name = format!("--{}{}", option.name, value);
                assert!(text(Some(*topic)).contains(&name), "{name} in {topic:?}");
            }
        }
        for usage in ["[serve]", "run", "stream", "send"] {
            assert!(text(None).contains(&format!("\n  butler [OPTIONS] {usage}")));
        }
        for usage in ["cat", "help", "version"] {
            assert!(text(None).contains(&format!("\n  butler {usage}")));
        }
    }

    #[test]
    fn lists_every_output() {
        for name in [
            "null",
            "log",
            "directory,path=",
            "file,path=",
            "unix:",
            "tcp:",
            "logdog",
        ] {
            assert!(outputs().contains(&format!("\n  {name}")), "{name}");
        }
        assert!(text(None).contains(&outputs()));
    }
}
