//! How a run begins: the shipped driver with a shipped output, on the virtual
//! kernel.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use butler::core::{CoreConfig, MachineConfig, Users};
use butler::edge::driver::{Driver, Onlooker};
use butler::edge::io::ReadBy;
use butler::edge::transport::Transport;
use butler::keys::StreamKey;
use butler::limits::FLUSH_TIMEOUT;
use butler::output::spool::SpoolSettings;
use butler::output::{self, DirectoryOutput, FileOutput, Output, TcpOutput, UnixOutput};
use butler::time::Moment;
use butler::wire::descriptor::{StreamProperties, Tags};
use butler::{BundleLimits, Identity, Run};

use crate::broken::Broken;
use crate::content;
use crate::disk::Disk;
use crate::kernel::{Kernel, OWN_USER, State};
use crate::looker::Looker;
use crate::plan::{Client, Destination, Plan};
use crate::tap::{Given, Tap};
use crate::window::Window;

/// See the module.
pub struct Started {
    pub driver: Driver<Kernel>,
    pub kernel: Rc<RefCell<State>>,
    pub given: Given,
    pub files: Option<tempfile::TempDir>,
}

/// A spool that several butlers have, one after the other.
pub struct Spool {
    pub disk: Rc<RefCell<Disk>>,
    pub settings: SpoolSettings,
}

/// With a spool, `prefix` tells this butler's messages from others'.
pub fn start(
    plan: &Plan,
    broken: Option<Broken>,
    traced: bool,
    spool: Option<(&Spool, &str)>,
) -> Started {
    let (mut io, kernel) = Kernel::new(plan, broken, traced);
    let files = match plan.destination {
        Destination::File | Destination::Directory => Some(scratch()),
        _ => None,
    };
    let path = files.as_ref().map(|it| it.path().join("out"));
    let mut config = config(plan, broken);
    let output = match spool {
        None => output(&mut io, &kernel, plan.destination, path),
        Some((spool, prefix)) => {
            config.core.identity.prefix = prefix.into();
            kernel.borrow_mut().disk = Some(Rc::clone(&spool.disk));
            let carrier = output::carrier(&mut io, &sends_to(plan.destination, "socket"));
            let run = Run::new(config.core.identity.clone(), None);
            let buffered_max = config.core.buffered_max;
            output::spooled(
                &mut io,
                carrier.unwrap(),
                &spool.settings,
                run,
                buffered_max,
            )
            .unwrap()
        }
    };
    let (tap, given) = Tap::new(output, &kernel);
    let mut driver = Driver::new(io, config, Box::new(tap));
    driver.ask_about_streams();
    let begin = Moment {
        mono_ns: 0,
        wall: prost_types::Timestamp::default(),
    };
    driver.listen(&begin, Users::only(OWN_USER), Kernel::server());
    Started {
        driver,
        kernel,
        given,
        files,
    }
}

/// In memory, where there is such a place.
fn scratch() -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    memory.or_else(|_| tempfile::tempdir()).unwrap()
}

fn output(
    io: &mut Kernel,
    kernel: &Rc<RefCell<State>>,
    destination: Destination,
    path: Option<PathBuf>,
) -> Box<dyn Transport<Kernel>> {
    let path = path.unwrap_or_else(|| "socket".into());
    match destination {
        Destination::Window(capacity) => Box::new(Window::new(capacity, kernel)),
        _ => output::open(io, &sends_to(destination, path)).unwrap(),
    }
}

fn sends_to(destination: Destination, path: impl Into<PathBuf>) -> Output {
    match destination {
        Destination::Window(_) => unreachable!("that is none that ships"),
        Destination::Unix => UnixOutput::new(path).into(),
        Destination::Tcp => TcpOutput::new("host", 7).into(),
        Destination::UnixAcknowledged => {
            let mut unix = UnixOutput::new(path);
            unix.ack = true;
            unix.into()
        }
        Destination::TcpAcknowledged => {
            let mut tcp = TcpOutput::new("host", 7);
            tcp.ack = true;
            tcp.into()
        }
        Destination::File => FileOutput::new(path).into(),
        Destination::Directory => DirectoryOutput::new(path).into(),
    }
}

fn config(plan: &Plan, broken: Option<Broken>) -> MachineConfig {
    let buffered_max = plan.buffered_max as u64;
    MachineConfig {
        core: CoreConfig {
            bundle_limits: BundleLimits {
                early: plan.bundle_target / 2,
                target: plan.bundle_target,
                max: plan.bundle_max,
            },
            text_in_lines: plan.text_in_lines,
            identity: Identity {
                project: "p".into(),
                prefix: "a/prefix".into(),
                secret: Default::default(),
            },
            global_tags: Tags::default(),
            age_max_ns: plan.age_ns,
            buffered_max: match broken {
                Some(Broken::ReadsOn) => 10 * buffered_max,
                _ => buffered_max,
            },
            stream_size_max: plan.stream_size_max,
        },
        flush_timeout: match broken {
            Some(Broken::WaitsForOutput) => Duration::from_secs(10_000),
            _ => FLUSH_TIMEOUT,
        },
        deadline: None,
    }
}

/// Attaches the pipe of a client, whose name may be taken.
pub fn attach(
    driver: &mut Driver<Kernel>,
    now: &Moment,
    (index, client): (usize, &Client),
    looker: Option<Rc<Looker>>,
) -> Option<StreamKey> {
    let name = content::name(client.number).parse().expect("a name");
    let mut properties = StreamProperties::new(name, client.stream_type);
    let number = client.number.to_string();
    properties.tags.insert("n", number).expect("a tag");
    let core = driver.machine_mut().core_mut();
    let stream = core.open(now, &properties).ok()?;
    driver.registered(&properties.name);
    let onlooker = looker.map(|it| it as Rc<dyn Onlooker>);
    let pipe = (Kernel::pipe_of(index), ReadBy::Read);
    driver.attach(now, stream, pipe, onlooker);
    Some(stream)
}
