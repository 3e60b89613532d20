//! What is accepted, and what it says.

use std::io::Write as _;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use super::*;
use crate::cli::help;
use crate::cli::options::{CatOptions, Remark, RunOptions, SendOptions, StreamOptions, Wiring};
use crate::output::{Controls, LogOutput, Output};
use crate::wire::descriptor::StreamType;

fn parsed_line(args: &[&str]) -> Result<Invocation, UsageError> {
    parse(args.iter().map(OsString::from))
}

fn problem(args: &[&str]) -> Problem {
    parsed_line(args).unwrap_err().problem
}

fn serve(args: &[&str]) -> Common {
    match parsed_line(args) {
        Ok(Invocation::Serve(common)) => common,
        other => panic!("{args:?}: {other:?}"),
    }
}

fn run(args: &[&str]) -> (Common, RunOptions) {
    match parsed_line(args) {
        Ok(Invocation::Run(common, options)) => (common, options),
        other => panic!("{args:?}: {other:?}"),
    }
}

fn stream(args: &[&str]) -> StreamOptions {
    match parsed_line(args) {
        Ok(Invocation::Stream(_, options)) => options,
        other => panic!("{args:?}: {other:?}"),
    }
}

fn send(args: &[&str]) -> (Common, SendOptions) {
    match parsed_line(args) {
        Ok(Invocation::Send(common, options)) => (common, options),
        other => panic!("{args:?}: {other:?}"),
    }
}

fn cat(args: &[&str]) -> CatOptions {
    match parsed_line(args) {
        Ok(Invocation::Cat(options)) => options,
        other => panic!("{args:?}: {other:?}"),
    }
}

fn help_of(args: &[&str]) -> String {
    match parsed_line(args) {
        Ok(Invocation::Help(text)) => text,
        other => panic!("{args:?}: {other:?}"),
    }
}

fn names(options: &RunOptions) -> [Option<&str>; 2] {
    [&options.stdout, &options.stderr].map(|outlet| outlet.name().map(AsRef::as_ref))
}

#[test]
fn defaults() {
    let common = serve(&[]);
    let config = &common.config;
    let directory = DirectoryOutput::new("butler-logs");
    assert_eq!(config.output, directory.into());
    assert_eq!(config.project.as_str(), "local");
    assert!(config.prefix.as_str().starts_with("butler/users/"));
    assert_eq!(config.global_tags.iter().count(), 0);
    assert!(config.buffer_logs);
    assert_eq!(config.max_buffer_age, Duration::from_secs(5));
    assert_eq!(config.max_buffered, 64 << 20);
    assert_eq!(config.max_stream_size, 4_831_838_208);
    assert_eq!(config.flush_timeout, Duration::from_secs(120));
    assert_eq!(common.stream_server, None);
    assert_eq!(common.drain_timeout, Duration::from_secs(5));
    assert_eq!(common.stats_path, None);
    assert_eq!(common.io, IoMode::Auto);
    assert_eq!(common.log_level, LevelFilter::Warn);
    assert!(!common.fail_on_loss);
    assert_eq!(common.coordinator_host, None);
}

/// Every spelling and place of the common options says the same.
#[test]
fn common_options() {
    let pairs = [
        ("stream-server", "unix:/run/b"),
        ("output", "unix:/out,compress=zlib"),
        ("project", "infra"),
        ("prefix", "a/b"),
        ("coordinator-host", "x.example"),
        ("tag", "k=v=w"),
        ("tag", "l"),
        ("output-max-buffer-age", "1m30s"),
        ("drain-timeout", "0"),
        ("flush-timeout", "1.5h"),
        ("max-buffered", "4MiB"),
        ("max-stream-size", "10"),
        ("stats-path", "-s"),
        ("io", "epoll"),
        ("log-level", "debug"),
    ];
    let mut lines: Vec<Vec<String>> = vec![Vec::new(); 4];
    for (name, value) in pairs {
        lines[0].extend([format!("-{name}"), value.into()]);
        lines[1].push(format!("-{name}={value}"));
        lines[2].extend([format!("--{name}"), value.into()]);
        lines[3].push(format!("--{name}={value}"));
    }
    for (spelling, mut line) in lines.into_iter().enumerate() {
        match spelling {
            0 => line.insert(0, "serve".into()),
            1 => line.push("serve".into()),
            2 => line.insert(0, "--".into()),
            _ => {}
        }
        line.extend(["-output-no-buffer".into(), "--fail-on-loss=true".into()]);
        let line: Vec<&str> = line.iter().map(String::as_str).collect();

        let common = serve(&line);
        let config = &common.config;
        assert_eq!(
            config.output,
            "unix:/out,compress=zlib".parse::<Output>().unwrap()
        );
        assert_eq!(config.project.as_str(), "infra");
        assert_eq!(config.prefix.as_str(), "a/b");
        assert_eq!(
            config.global_tags.iter().collect::<Vec<_>>(),
            [("k", "v=w"), ("l", "")]
        );
        assert!(!config.buffer_logs);
        assert_eq!(config.max_buffer_age, Duration::from_secs(90));
        assert_eq!(config.max_buffered, 4 << 20);
        assert_eq!(config.max_stream_size, 10);
        assert_eq!(config.flush_timeout, Duration::from_secs(5400));
        assert_eq!(common.stream_server, Some("/run/b".into()));
        assert_eq!(common.drain_timeout, Duration::ZERO);
        assert_eq!(common.stats_path, Some("-s".into()));
        assert_eq!(common.io, IoMode::Epoll);
        assert_eq!(common.log_level, LevelFilter::Debug);
        assert!(common.fail_on_loss);
        assert_eq!(common.coordinator_host.as_deref(), Some("x.example"));
    }
}

#[test]
fn the_last_one_counts_and_empty_ones_do_not() {
    let common = serve(&[
        "-project=a",
        "-project=b",
        "-output=null",
        "-output",
        "log",
        "-output-no-buffer",
        "-output-no-buffer=F",
        "-streamserver-uri=",
        "-stats-path=",
        "-coordinator-host",
        "",
        "-service-account-json=",
    ]);
    assert_eq!(common.config.project.as_str(), "b");
    let log = |controls| {
        let log = LogOutput {
            controls,
            ..LogOutput::default()
        };
        Output::from(log)
    };
    assert_eq!(common.config.output, log(Controls::Escaped));
    let raw = serve(&["--output", "log", "-raw"]);
    assert_eq!(raw.config.output, log(Controls::Raw));
    assert!(common.config.buffer_logs);
    assert_eq!(common.stream_server, None);
    assert_eq!(common.stats_path, None);
    assert_eq!(common.coordinator_host, None);
}

/// As the reference reads them.
#[test]
fn what_has_no_effect_is_no_error() {
    let remarks = |common: Common| -> Vec<String> {
        let told = |remark: Remark| format!("{} {}", remark.level, remark.text);
        common.remarks.into_iter().map(told).collect()
    };
    assert_eq!(remarks(serve(&["-output-max-buffer-age=-5s"])), [""; 0]);
    assert_eq!(
        serve(&["-output-max-buffer-age=-5s"]).config.max_buffer_age,
        Duration::ZERO
    );
    let account = remarks(serve(&["-service-account-json=k", "-output=null"]));
    assert!(
        account[0].starts_with("INFO --service-account-json"),
        "{account:?}"
    );
    let words = remarks(serve(&["ser", "a", "-tag=b", "c"]));
    assert!(words[0].starts_with("WARN serve takes no arguments, and ignores: a c;"));
    let Ok(Invocation::Stream(common, options)) = parsed_line(&["stream", "a"]) else {
        panic!("it is refused");
    };
    assert_eq!(options.source, None);
    assert!(remarks(common)[0].contains("--source FILE"));
}

#[test]
fn a_command_is_left_alone() {
    for (args, command) in [
        (&["run", "ls", "-l"] as &[&str], &["ls", "-l"] as &[&str]),
        (&["run", "--", "-x", "--", "-tee"], &["-x", "--", "-tee"]),
        (&["run", "ls", "--", "--help"], &["ls", "--", "--help"]),
        (&["run", "--tee", "-", "-tag"], &["-", "-tag"]),
        (&["-tee", "run", "run", "run"], &["run", "run"]),
        (&["--", "run", "-tee", "--", "x", "-h"], &["x", "-h"]),
        (&["run", "-tag", "run", "-tee", "x"], &["x"]),
    ] {
        assert_eq!(run(args).1.command, command, "{args:?}");
    }
    let odd = OsString::from_vec(b"-\xff".to_vec());
    let args = ["run", "-chdir", "\u{e9}", "--"].map(OsString::from);
    let args = args.into_iter().chain([odd.clone(), odd.clone()]);
    match parse(args) {
        Ok(Invocation::Run(_, options)) => assert_eq!(options.command, [odd.clone(), odd]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn paths_need_not_be_utf8() {
    let odd = |start: &str| {
        let mut bytes = start.as_bytes().to_vec();
        bytes.push(0xff);
        OsString::from_vec(bytes)
    };
    let args = [
        "run".into(),
        odd("-chdir="),
        "-result-path".into(),
        odd(""),
        odd("--stats-path="),
        "--output".into(),
        odd("directory,path="),
        "ls".into(),
    ];
    let Ok(Invocation::Run(common, options)) = parse(args) else {
        panic!("it is refused");
    };
    let path = PathBuf::from(odd(""));
    assert_eq!(options.chdir, Some(path.clone()));
    assert_eq!(options.result_path, Some(path.clone()));
    assert_eq!(common.stats_path, Some(path.clone()));
    assert_eq!(common.config.output, DirectoryOutput::new(path).into());

    let error = parse([odd("--project=")]).unwrap_err().to_string();
    assert!(error.contains("it is not valid UTF-8"), "{error}");
    let error = parse([odd("--projec")]).unwrap_err().to_string();
    assert!(error.contains("unknown option --projec\u{fffd}"), "{error}");
}

#[test]
fn run_options() {
    let (_, options) = run(&["run", "x"]);
    assert_eq!(names(&options), [Some("stdout"), Some("stderr")]);
    let shown = |outlet: &Wiring| matches!(outlet, Wiring::Captured { shown: true, .. });
    assert!(shown(&options.stdout) && shown(&options.stderr) && !options.forward_stdin);
    assert_eq!((options.chdir, options.result_path), (None, None));

    let (_, options) = run(&[
        "-stdout=name=out,type=binary",
        "run",
        "-stderr",
        "name=err,tag=a",
        "-tee",
        "-forward-stdin",
        "-chdir=/d",
        "--result-path",
        "-r",
        "x",
    ]);
    assert_eq!(names(&options), [Some("out"), Some("err")]);
    let Wiring::Captured { flags, shown } = &options.stdout else {
        panic!("{options:?}");
    };
    assert_eq!((flags.stream_type, *shown), (StreamType::Binary, true));
    assert!(options.forward_stdin);
    assert_eq!(options.chdir, Some("/d".into()));
    assert_eq!(options.result_path, Some("-r".into()));

    for (args, captured) in [
        (&["-stdout=name=a"] as &[&str], [Some("a"), None]),
        (&["-stderr=name=a"], [None, Some("a")]),
        (&["-stdout=type=text", "-stderr=name=a"], [None, Some("a")]),
        (&["-stdout="], [None, None]),
        (&["-attach=false"], [None, None]),
        (&["-attach=0", "-stdout=name=a"], [None, None]),
        (&["-attach"], [Some("stdout"), Some("stderr")]),
        (
            &["-stdout=name=a", "-stdout=tag=x", "-stderr=name=b"],
            [Some("a"), Some("b")],
        ),
    ] {
        let line = [&["run"], args, &["x"]].concat();
        assert_eq!(names(&run(&line).1), captured, "{args:?}");
    }
}

#[test]
fn a_command_as_json() {
    let write = |text: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    };
    let good = write(" [\"a b\", \"--\", \"-tee\", \"\"]\n");
    let path = good.path().to_str().unwrap();
    let (_, options) = run(&["run", "-json-args-path", path]);
    assert_eq!(options.command, ["a b", "--", "-tee", ""]);
    let two = problem(&["run", "-json-args-path", path, "ls"]);
    assert!(matches!(two, Problem::TwoCommands));
    for bad in ["", "[]", "{}", "[1]", "[\"a\"", "null"] {
        let file = write(bad);
        let path = file.path().to_str().unwrap();
        let problem = problem(&["run", "-json-args-path", path]);
        assert!(matches!(problem, Problem::JsonArgs { .. }), "{bad}");
    }
    let error = parsed_line(&["run", "--json-args-path=/nowhere/x"]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/nowhere/x"), "{text}");
    assert!(text.contains("No such file"), "{text}");
}

#[test]
fn stream_options() {
    let options = stream(&["stream"]);
    assert_eq!(options.source, None);
    assert_eq!(options.stream.name.unwrap().as_str(), "stdin");
    let options = stream(&["stream", "-source", "-"]);
    assert_eq!(options.stream.name.unwrap().as_str(), "stdin");
    let options = stream(&["stream", "-source=/var/log/x", "-stream", "type=binary"]);
    assert_eq!(options.source, Some("/var/log/x".into()));
    assert_eq!(options.stream.name.unwrap().as_str(), "file:_var_log_x");
    assert_eq!(options.stream.stream_type, StreamType::Binary);
    let options = stream(&["-stream=name=a", "-source=x", "stream", "-stream=tag=k"]);
    assert_eq!(options.stream.name.unwrap().as_str(), "a");
    assert_eq!(options.stream.tags.iter().count(), 1);
}

#[test]
fn cat_options() {
    let options = cat(&["cat", "a", "-list", "b", "--", "-c"]);
    assert_eq!(options.paths, ["a", "b", "-c"].map(PathBuf::from));
    assert_eq!(options.stream, None);
    assert!(options.list);
    assert!(!(options.timestamps || options.json || options.follow || options.raw));
    let options = cat(&[
        "-stream",
        "a/*",
        "-log-level=info",
        "cat",
        "-timestamps",
        "-json",
        "-follow",
        "-raw",
        "-",
    ]);
    assert_eq!(options.paths, [PathBuf::from("-")]);
    assert_eq!(options.stream.as_deref(), Some("a/*"));
    assert_eq!(options.log_level, LevelFilter::Info);
    assert!(options.timestamps && options.json && options.follow && options.raw);
}

#[test]
fn help_and_version() {
    let general = help::text(None);
    for args in [
        &["help"] as &[&str],
        &["--help"],
        &["-help"],
        &["-h"],
        &["-tag=a", "-h", "-bogus"],
        &["help", "help"],
        &["help", "version"],
        &["help", "-h"],
        &["version", "-h"],
    ] {
        assert_eq!(help_of(args), general, "{args:?}");
    }
    for topic in [
        Subcommand::Serve,
        Subcommand::Run,
        Subcommand::Stream,
        Subcommand::Send,
        Subcommand::Cat,
    ] {
        let name = topic.as_str();
        let text = help::text(Some(topic));
        assert_ne!(text, general);
        for args in [["help", name], [name, "--help"], [name, "-h"]] {
            assert_eq!(help_of(&args), text, "{args:?}");
        }
    }
    assert_eq!(help_of(&["run", "-output", "help"]), help::outputs());
    assert_eq!(help_of(&["-output=help"]), help::outputs());
    assert_eq!(help_of(&["-output=help,logdog"]), help::outputs());
    assert_eq!(help_of(&["help", "outputs"]), help::outputs());
    for args in [
        &["version"] as &[&str],
        &["--version"],
        &["-version"],
        &["-V"],
        &["run", "-V"],
    ] {
        assert!(matches!(parsed_line(args), Ok(Invocation::Version)));
    }
    serve(&["--help=false", "--version=false"]);
}

#[test]
fn spools_to_be_sent() {
    let (common, options) = send(&["send", "a", "-output=tcp:h:1", "-keep", "b"]);
    assert_eq!(common.config.output, "tcp:h:1".parse::<Output>().unwrap());
    assert_eq!(options.spools, [PathBuf::from("a"), "b".into()]);
    assert!(options.keep);
    let (common, options) = send(&["-flush-timeout=1s", "-output=unix:s", "send", "--", "-x"]);
    assert_eq!(common.config.flush_timeout, Duration::from_secs(1));
    assert_eq!(options.spools, [PathBuf::from("-x")]);
    assert!(!options.keep);
    // Messages know their project and their Coordinator.
    #[cfg(feature = "logdog")]
    send(&["send", "a", "-output=logdog"]);
}

#[test]
fn every_option_is_read() {
    for option in &option::OPTIONS {
        for dashes in ["-", "--"] {
            let name = format!("{dashes}{}", option.name);
            if let Takes::Value(_) = option.takes {
                let problem = problem(&[&name]);
                let missing =
                    matches!(problem, Problem::MissingValue { option: it } if it == option.name);
                assert!(missing, "{problem}");
            } else {
                let value = format!("{name}=maybe");
                let text = problem(&[&value]).to_string();
                assert!(text.contains("it must be true or false"), "{text}");
            }
        }
    }
}
