//! What a butler that has started still needs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::StreamServer;
use crate::cli::options::{Common, Sandbox, SendOptions};
use crate::cli::report_file::ReportFile;
use crate::output::kind::Need;

/// What may be done beneath a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Files and directories are read.
    Read,
    /// Files and empty directories are removed.
    Remove,
    /// Files that are there are written to.
    Write,
    /// Files are made, emptied, written to, moved and removed.
    Replace,
    /// Files and directories are made, files are written to, emptied and
    /// removed.
    Tree,
    /// The same, and files are read and moved.
    All,
}

/// Where TCP connections may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tcp {
    Nowhere,
    Ports(Vec<u16>),
    Anywhere,
}

impl Tcp {
    fn allow(&mut self, port: u16) {
        match self {
            Self::Nowhere => *self = Self::Ports(vec![port]),
            Self::Ports(ports) => ports.push(port),
            Self::Anywhere => {}
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(in crate::cli) struct Needs {
    pub(super) sandbox: Sandbox,
    /// Everything beneath these.
    pub(super) paths: Vec<(PathBuf, Access)>,
    pub(super) tcp: Tcp,
    /// A process that was started before is to get signals.
    pub(super) signals_child: bool,
}

/// The resolver asks here if the answer over UDP was cut.
const DOMAIN: u16 = 53;

/// What the C library's resolver reads: its configuration, its modules and
/// where some systems keep the former.
const RESOLVER: [&str; 8] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/nscd",
];

impl Needs {
    /// What somebody needs who has open what it needs.
    pub fn nothing(common: &Common) -> Self {
        Self {
            sandbox: common.sandbox,
            paths: Vec::new(),
            tcp: Tcp::Nowhere,
            signals_child: false,
        }
    }

    /// What the output needs.
    pub fn of(common: &Common) -> Self {
        let output = &common.config.output;
        let mut needs = Self::nothing(common);
        let spool = common.config.spool.as_ref();
        let spool = spool.map(|spool| Need::Directory(spool.path.clone()));
        for need in output.needs().into_iter().chain(spool) {
            needs.need(need);
        }
        needs
    }

    /// Also to send what is in those spools.
    pub fn of_spools(mut self, options: &SendOptions) -> Self {
        for spool in &options.spools {
            self.need(match options.keep {
                true => Need::Read(spool.clone()),
                false => Need::Directory(spool.clone()),
            });
        }
        self
    }

    fn need(&mut self, need: Need) {
        match need {
            // A job may remove its whole workspace: what is made again may be the
            // directory that holds it, or the current one. The whole system is too
            // much for that.
            Need::Tree(path) => {
                let keeper = keeper(&path);
                let above = keeper.as_deref().and_then(Path::parent).map(Path::to_owned);
                let directory = [above, keeper, fs::canonicalize(&path).ok()]
                    .into_iter()
                    .flatten()
                    .find(|directory| directory != Path::new("/"));
                self.add(directory, Access::Tree);
            }
            // It is made when the output is opened.
            Need::Directory(path) => self.add(std::path::absolute(path).ok(), Access::All),
            Need::Reopen(path) => self.add(holder(&path), Access::Write),
            Need::Read(path) => self.add(Some(path), Access::Read),
            Need::Hosts => {
                self.resolver();
                self.tcp.allow(DOMAIN);
            }
            Need::Port(port) => self.tcp.allow(port),
            Need::AnyPort => self.tcp = Tcp::Anywhere,
        }
    }

    /// Also to remove the socket at the end.
    pub fn of_server(mut self, server: &StreamServer) -> Self {
        for directory in server.directories() {
            self.add(fs::canonicalize(directory).ok(), Access::Remove);
        }
        self
    }

    /// Also to write that file at the end.
    pub fn of_report(mut self, file: Option<&ReportFile>) -> Self {
        if let Some(file) = file {
            self.add(keeper(file.path()), Access::Replace);
        }
        self
    }

    /// Also to signal a child that has been started.
    pub fn of_child(mut self) -> Self {
        self.signals_child = true;
        self
    }

    fn add(&mut self, path: Option<PathBuf>, access: Access) {
        self.paths.extend(path.map(|path| (path, access)));
    }

    fn resolver(&mut self) {
        for path in RESOLVER {
            self.add(Some(path.into()), Access::Read);
        }
        // It may be a link to anywhere.
        self.add(holder(Path::new("/etc/resolv.conf")), Access::Read);
    }
}

/// Where something may be made again that is, or will be, at `path`: the
/// current directory, if it is anywhere beneath that, as a job may remove what
/// it likes in its workspace; else what [`holder`] says.
fn keeper(path: &Path) -> Option<PathBuf> {
    let holder = holder(path)?;
    let here = std::env::current_dir().and_then(fs::canonicalize).ok();
    let here = here.filter(|here| here != Path::new("/") && holder.starts_with(here));
    Some(here.unwrap_or(holder))
}

/// The directory that holds what is at `path`, without links; or the nearest
/// that there is on the way to it.
fn holder(path: &Path) -> Option<PathBuf> {
    if let Ok(found) = fs::canonicalize(path) {
        let above = found.parent().map(Path::to_owned);
        return Some(above.unwrap_or(found));
    }
    let path = std::path::absolute(path).ok()?;
    path.ancestors()
        .skip(1)
        .find_map(|above| fs::canonicalize(above).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::parse;
    use crate::cli::options::Invocation;

    fn needs(args: &[&str]) -> Needs {
        match parse(args.iter().map(Into::into)) {
            Ok(Invocation::Serve(common)) => Needs::of(&common),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_more_than_the_output_needs() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let at = |spec: &str| spec.replace("DIR", dir.to_str().unwrap());
        for spec in ["null", "log", "unix:DIR/s", "file,path=DIR/f"] {
            let needs = needs(&["--output", &at(spec)]);
            assert_eq!((needs.paths, needs.tcp), (vec![], Tcp::Nowhere), "{spec}");
        }
        let found = needs(&["--output", &at("directory,path=DIR/d/e")]);
        assert_eq!(found.paths, [(dir.parent().unwrap().into(), Access::Tree)]);
        fs::create_dir(dir.join("d")).unwrap();
        let found = needs(&["--output", &at("directory,path=DIR/d/e")]);
        assert_eq!(found.paths, [(dir.clone(), Access::Tree)]);
        let found = needs(&["--output", "directory,path=/tmp"]);
        assert_eq!(found.paths, [("/tmp".into(), Access::Tree)]);
        let file = ReportFile::prepare("stats-path", &dir.join("stats")).unwrap();
        let found = needs(&["--output=null"]).of_report(Some(&file));
        assert_eq!(found.paths, [(dir.clone(), Access::Replace)]);
        let found = needs(&["--output", "tcp:localhost:7"]);
        assert_eq!(found.tcp, Tcp::Ports(vec![53, 7]));
        assert!(
            found
                .paths
                .iter()
                .all(|(_, access)| *access == Access::Read)
        );
    }

    #[test]
    fn where_a_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::create_dir(dir.join("a")).unwrap();
        fs::write(dir.join("a/there"), "").unwrap();
        std::os::unix::fs::symlink("a/there", dir.join("link")).unwrap();
        assert_eq!(holder(&dir.join("a/there")), Some(dir.join("a")));
        assert_eq!(holder(&dir.join("a/new")), Some(dir.join("a")));
        assert_eq!(holder(&dir.join("link")), Some(dir.join("a")));
        assert_eq!(holder(&dir.join("later/on/new")), Some(dir.clone()));
        assert_eq!(holder(Path::new("/")), Some("/".into()));
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(holder(Path::new("is not there")), Some(here.clone()));
        assert_eq!(keeper(Path::new("a/b/c")), Some(here));
        assert_eq!(keeper(&dir.join("a/new")), Some(dir.join("a")));
    }
}
