//! What is refused, and in which words.

use super::*;
use crate::ConfigError;
use crate::pairs::PairProblem;

fn refusal(args: &[&str]) -> UsageError {
    parse(args.iter().map(OsString::from)).unwrap_err()
}

fn problem(args: &[&str]) -> Problem {
    refusal(args).problem
}

#[test]
fn values_that_are_refused() {
    for (option, value, says) in [
        ("stream-server", "tcp:x:1", "it must be unix:PATH"),
        ("streamserver-uri", "/x", "it must be unix:PATH"),
        ("project", "", "lower-case letter"),
        ("project", "A", "lower-case letter"),
        ("prefix", "", "it is empty"),
        ("prefix", "/a", "a segment is empty"),
        ("prefix", "-x", "a segment begins with '-'"),
        ("tag", "", "wanted is KEY or KEY=VALUE"),
        ("output-max-buffer-age", "5", "such as 100ms, 5s"),
        ("drain-timeout", "-5s", "may not be negative"),
        ("flush-timeout", "x", "such as 100ms, 5s"),
        ("max-buffered", "1GB", "512KiB, 64MiB or 1GiB"),
        ("max-stream-size", "-1", "512KiB, 64MiB or 1GiB"),
        ("log-level", "trace", "debug, info, warning or error"),
        ("io", "", "auto, uring or epoll"),
        ("io", "io_uring", "auto, uring or epoll"),
    ] {
        let given = [format!("-{option}"), value.into()];
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        let error = refusal(&given);
        let text = error.to_string();
        assert!(matches!(error.problem, Problem::Value { .. }), "{text}");
        assert!(text.starts_with(&format!("--{option} \"{value}\" is not allowed: ")));
        assert!(text.contains(says), "{text}");
        assert!(text.ends_with("\nsee 'butler help'"), "{text}");
    }
    let twice = problem(&["-tag=a=1", "-tag=a=2"]).to_string();
    assert!(twice.contains("set twice"), "{twice}");
    let empty = problem(&["stream", "-source="]).to_string();
    assert!(empty.contains("- for stdin"), "{empty}");
    let long = "x".repeat(5000);
    let name = problem(&["stream", "-source", &long]).to_string();
    assert!(name.contains("give --stream name=NAME"), "{name}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_does_not_fit_together() {
    use Problem::{Config, NoCommand, SameName};
    for (args, expected) in [
        (&["run"] as &[&str], NoCommand),
        (&["run", "--"], NoCommand),
        (&["run", "-tee"], NoCommand),
        (
            &["run", "-stdout=name=a", "-stderr=name=a", "x"],
            SameName("a".into()),
        ),
        (
            &["-max-buffered", "4194303"],
            Config(ConfigError::MaxBuffered(4_194_303)),
        ),
        (
            &["-max-stream-size", "0", "stream"],
            Config(ConfigError::MaxStreamSize),
        ),
        (&["-output=null", "-spool=s"], Config(ConfigError::Spool)),
        (&["-spool=s", "run", "ls"], Problem::SpoolAlone),
        (&["send", "-output=unix:s"], Problem::NoSpool),
        (&["send", "s"], Problem::NoOutput),
        (&["send", "s", "-output=file,path=f"], Problem::NotElsewhere),
        #[cfg(not(feature = "logdog"))]
        (
            &["-output", "logdog,service=x"],
            Problem::Output(crate::output::spec::SpecError::NotSupported("logdog")),
        ),
        #[cfg(feature = "logdog")]
        (
            &["-output", "logdog", "-project=p"],
            Problem::Needed {
                options: vec!["coordinator-host"],
                by: "logdog",
            },
        ),
        #[cfg(feature = "logdog")]
        (
            &["-output", "logdog"],
            Problem::Needed {
                options: vec!["project", "coordinator-host"],
                by: "logdog",
            },
        ),
        #[cfg(feature = "logdog")]
        (
            &[
                "-output=logdog",
                "-coordinator-host=https://h",
                "-project=p",
            ],
            Config(ConfigError::Output(
                crate::output::UnfitOutput::CoordinatorHost("https://h".into()),
            )),
        ),
    ] {
        assert_eq!(
            format!("{:?}", problem(args)),
            format!("{expected:?}"),
            "{args:?}"
        );
    }
    let two = &["run", "-stdout", "name=a,tee=x", "x"];
    let Problem::Pairs { option, error } = problem(two) else {
        panic!("it is not refused");
    };
    assert_eq!(option, "stdout");
    assert!(matches!(error.problem, PairProblem::Unknown));
}

#[test]
fn options_of_other_subcommands() {
    for (args, says) in [
        (&["-tee"] as &[&str], "--tee is for run, not for serve"),
        (&["serve", "-stdout="], "--stdout is for run, not for serve"),
        (
            &["-source=x", "run", "ls"],
            "--source is for stream, not for run",
        ),
        (
            &["-stream=x", "run", "ls"],
            "--stream is for stream and cat, not",
        ),
        (&["stream", "-json"], "--json is for cat, not for stream"),
        (&["-keep", "run", "ls"], "--keep is for send, not for run"),
        (
            &["send", "x", "-spool=y"],
            "--spool is for serve, run and stream, not for send",
        ),
        (
            &["cat", "x", "-output=null"],
            "--output is for serve, run, stream and send, not for cat",
        ),
    ] {
        let text = problem(args).to_string();
        assert!(text.contains(says), "{args:?}: {text}");
    }
}

/// The whole text, with the line that says where to read on.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn refusals_in_full() {
    for (args, text) in [
        (
            &["-outptu", "null"] as &[&str],
            "unknown option --outptu; did you mean --output?\nsee 'butler help'",
        ),
        (
            &["run", "-verbose"],
            "unknown option --verbose; did you mean --log-level debug?\nsee 'butler help run'",
        ),
        (
            &["-x"],
            "unknown option -x; the only ones of one letter are -h and -V\nsee 'butler help'",
        ),
        (
            &["cat", "-f", "x"],
            "unknown option -f; did you mean --follow?\nsee 'butler help cat'",
        ),
        (
            &["run", "-t", "x"],
            "unknown option -t; did you mean --tag or --tee?\nsee 'butler help run'",
        ),
        (
            &["help", "enviroment"],
            "help has nothing about \"enviroment\"; did you mean environment?\n\
             see 'butler help'",
        ),
        (&["-hV"], "unknown option --hV\nsee 'butler help'"),
        (&["-=x"], "unknown option --\nsee 'butler help'"),
        (
            &["---tee"],
            "unknown option ---tee; did you mean --tee?\nsee 'butler help'",
        ),
        (
            &["-cpuprofile", "x"],
            "the option --cpuprofile is not supported by this butler\nsee 'butler help'",
        ),
        (
            &["--io-keepalive-stderr=5m", "run", "x"],
            "the option --io-keepalive-stderr is not supported by this butler\n\
             see 'butler help'",
        ),
        (
            &["help", "run", "x"],
            "help takes no argument \"x\"\nsee 'butler help'",
        ),
        (
            &["version", "x"],
            "version takes no argument \"x\"\nsee 'butler help'",
        ),
        (
            &["rum", "ls"],
            "there is no subcommand \"rum\"; did you mean run?\nsee 'butler help'",
        ),
        (
            &["help", "steam"],
            "help has nothing about \"steam\"; did you mean stream?\nsee 'butler help'",
        ),
        (
            &["make"],
            "there is no subcommand \"make\"; to capture a command: butler run -- COMMAND\n\
             see 'butler help'",
        ),
        (
            &["auth-login"],
            "auth-login: butler does not manage logins; give the logdog output a service \
             account with --service-account-json PATH (or :gce), or run in a task with \
             LUCI_CONTEXT\nsee 'butler help'",
        ),
        (
            &["run", "-tag"],
            "the option --tag needs a value: --tag VALUE\nsee 'butler help run'",
        ),
        (
            &["run"],
            "run needs a command: butler run -- COMMAND [ARG...], or --json-args-path FILE\n\
             see 'butler help run'",
        ),
        (
            &["-output=file,size=1"],
            "--output: the file output: unknown key \"size\"; allowed keys: path, compress, level\n\
             see 'butler help'",
        ),
        (
            &["run", "-stdout=type=x", "ls"],
            "--stdout: type=x is not allowed: it must be text, binary or datagram\n\
             see 'butler help run'",
        ),
        (
            &["-max-buffered=1", "stream"],
            "--max-buffered: max_buffered is 1 bytes; it must be at least 4194304\n\
             see 'butler help stream'",
        ),
    ] {
        assert_eq!(refusal(args).to_string(), text, "{args:?}");
    }
    for option in table::NOT_SUPPORTED {
        let option = format!("-{option}");
        assert!(matches!(problem(&[&option]), Problem::NotSupported { .. }));
    }
    for login in ["auth-login", "auth-logout", "auth-info"] {
        assert!(matches!(problem(&[login]), Problem::Login { .. }));
    }
}

#[cfg(feature = "logdog")]
#[test]
fn logdog_options() {
    use crate::output::logdog::{Credentials, LogdogOutput, Realm};
    for (account, credentials) in [
        ("", Credentials::Ambient),
        (":gce", Credentials::Gce),
        ("/k.json", Credentials::KeyFile("/k.json".into())),
    ] {
        // As it is written for the reference.
        let args = [
            "-project=p",
            "-prefix=x/y",
            "-coordinator-host=h.example.com",
            "-service-account-json",
            account,
            "-realm=auto",
            "-output=logdog,service=s",
            "run",
            "-stdout",
            "name=stdout",
            "--",
            "true",
        ];
        let parsed = parse(args.iter().map(OsString::from)).unwrap();
        let Invocation::Run(common, _) = parsed else {
            panic!("{parsed:?}");
        };
        let expected = LogdogOutput {
            service: Some("s".into()),
            credentials,
            realm: Realm::Context,
            ..LogdogOutput::new("h.example.com")
        };
        assert_eq!(common.config.output, expected.into());
        assert_eq!(common.coordinator_host.as_deref(), Some("h.example.com"));
    }
}
