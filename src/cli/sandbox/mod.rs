//! What a process that has started can't do any more: reach files that it does
//! not need, bind and connect TCP sockets that it does not need, signal others,
//! gain privileges, be looked into.
//!
//! [`Needs`] collects what is needed, [`needs`] says what each output needs,
//! and [`Needs::give_up_the_rest`] lets go of everything else, for good. It is
//! of the thread that calls it and of those that it starts: the only one there
//! is. A child that was started before is not concerned.
//!
//! The kernel's part is Landlock. Where there is none, or less of it, the rest
//! is done all the same. SECURITY.md has the list, for people.

mod needs;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;

use super::options::Sandbox;
pub(super) use needs::Needs;
use needs::{Access, Tcp};

/// What is given up is what this version knows. A later kernel may be able to
/// forbid more, but that must be tried first.
const ABI_KNOWN: ABI = ABI::V6;

impl Access {
    fn rights(self) -> BitFlags<AccessFs> {
        use AccessFs::{
            MakeDir, MakeReg, ReadDir, ReadFile, Refer, RemoveDir, RemoveFile, Truncate, WriteFile,
        };
        match self {
            Self::Read => ReadFile | ReadDir,
            Self::Remove => RemoveFile | RemoveDir,
            Self::Write => WriteFile.into(),
            Self::Replace => MakeReg | WriteFile | Truncate | RemoveFile,
            Self::Tree => MakeDir | MakeReg | WriteFile | Truncate | RemoveFile,
            Self::All => Self::Tree.rights() | Self::Read.rights() | Refer,
        }
    }
}

impl Needs {
    /// Gives up all else, as far as the kernel can take it.
    pub fn give_up_the_rest(self) {
        if self.sandbox == Sandbox::Off {
            return;
        }
        // Of the outputs one has secrets, but logs may have some too.
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            log::warn!("others may look into this process: {error}");
        }
        if let Err(error) = set_no_new_privs(true) {
            log::debug!("no_new_privs: {error}");
        }
        match self.restrict() {
            Ok(status) => log::debug!("Landlock: {:?}, {self:?}", status.ruleset),
            Err(error) => log::debug!("there is no Landlock: {error}"),
        }
    }

    fn restrict(&self) -> Result<RestrictionStatus, RulesetError> {
        let mut ruleset = Ruleset::default()
            .handle_access(AccessFs::from_all(ABI_KNOWN))?
            .handle_access(AccessNet::BindTcp)?
            .scope(Scope::AbstractUnixSocket)?;
        let mut ports: &[u16] = &[];
        match &self.tcp {
            Tcp::Nowhere => ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?,
            Tcp::Ports(these) => {
                ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
                ports = these;
            }
            Tcp::Anywhere => {}
        }
        if !self.signals_child {
            ruleset = ruleset.scope(Scope::Signal)?;
        }
        let mut created = ruleset.create()?;
        for port in ports {
            created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
        for (path, access) in &self.paths {
            match PathFd::new(path) {
                Ok(fd) => created = created.add_rule(PathBeneath::new(fd, access.rights()))?,
                // Not every machine has all of them.
                Err(error) => log::debug!("sandbox: {}: {error}", path.display()),
            }
        }
        created.restrict_self()
    }
}

#[cfg(test)]
mod tests;
