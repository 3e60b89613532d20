//! A disk, and what a kernel does with it: what is written is in memory first, and
//! reaches the disk in any order, in sectors, unless somebody asks for it. Then the
//! power fails, and only what the disk has is there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::io::Errno;

use crate::random::Random;

/// What is written at once, or not at all.
const SECTOR: usize = 512;
const ROOT: usize = 0;

/// A file or a directory.
#[derive(Debug, Default)]
struct Inode {
    is_directory: bool,
    mode: u32,
    /// What whoever reads it gets.
    bytes: Vec<u8>,
    /// What the disk has.
    durable: Vec<u8>,
    /// Sectors that are in memory only.
    dirty: BTreeSet<usize>,
    /// Somebody who is open has locked it.
    locked_by: Option<u64>,
}

/// A name in a directory.
type Name = (usize, OsString);

/// See the module.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    inodes: Vec<Inode>,
    names: BTreeMap<Name, usize>,
    durable_names: BTreeMap<Name, usize>,
    /// Changes of names that the disk does not have, in their order. Those of one
    /// are there together or not at all.
    changes: Vec<Vec<(Name, Option<usize>)>>,
    opened: u64,
    /// Bytes that its files may have.
    pub capacity: usize,
    /// What is synced does not reach the disk, whatever is said.
    pub loses_syncs: bool,
    /// The same of names.
    pub loses_names: bool,
    pub random: Random,
}

/// Something on it that is open.
#[derive(Debug)]
pub struct Open {
    disk: Rc<RefCell<Disk>>,
    inode: usize,
    id: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut disk = self.disk.borrow_mut();
        let inode = &mut disk.inodes[self.inode];
        if inode.locked_by == Some(self.id) {
            inode.locked_by = None;
        }
    }
}

impl Inode {
    /// What is in memory of a sector reaches the disk.
    fn flush(&mut self, sector: usize) {
        let (from, to) = (sector * SECTOR, (sector + 1) * SECTOR);
        let to = to.min(self.bytes.len());
        if from < to {
            let len = self.durable.len().max(to);
            self.durable.resize(len, 0);
            self.durable[from..to].copy_from_slice(&self.bytes[from..to]);
        }
        self.dirty.remove(&sector);
    }

    fn touch(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / SECTOR..to.div_ceil(SECTOR));
    }
}

impl Disk {
    /// An empty one, whose root is at that path.
    pub fn new(path: &Path, random: Random) -> Rc<RefCell<Self>> {
        let root = Inode {
            is_directory: true,
            mode: 0o755,
            ..Inode::default()
        };
        Rc::new(RefCell::new(Self {
            path: path.to_owned(),
            inodes: vec![root],
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            opened: 0,
            capacity: usize::MAX,
            loses_syncs: false,
            loses_names: false,
            random,
        }))
    }

    /// Is the root there?
    pub fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// The names in the root.
    pub fn root_names(&self) -> Vec<String> {
        let names = self.names.keys().filter(|(at, _)| *at == ROOT);
        names
            .map(|(_, name)| name.to_str().unwrap().to_owned())
            .collect()
    }

    fn used(&self) -> usize {
        let lens = self.names.values().map(|at| self.inodes[*at].bytes.len());
        lens.sum()
    }

    fn change(&mut self, change: Vec<(Name, Option<usize>)>) {
        apply(&mut self.names, &change);
        self.changes.push(change);
        self.forget_unnamed();
    }

    /// Files without a name take no room. (Those that are open are closed soon.)
    fn forget_unnamed(&mut self) {
        let named: BTreeSet<_> = self.names.values().copied().collect();
        let durable: BTreeSet<_> = self.durable_names.values().copied().collect();
        let changing: BTreeSet<_> = self
            .changes
            .iter()
            .flatten()
            .filter_map(|it| it.1)
            .collect();
        for (at, inode) in self.inodes.iter_mut().enumerate().skip(1) {
            if ![&named, &durable, &changing]
                .iter()
                .any(|it| it.contains(&at))
            {
                *inode = Inode {
                    is_directory: inode.is_directory,
                    ..Inode::default()
                };
            }
        }
    }

    /// Some of what is in memory reaches the disk, as it does at any time.
    pub fn write_back(&mut self) {
        let times = self.random.pick(&[1, 2, 10, 1000]);
        self.write_some(times);
    }

    /// Each dirty sector once in `times`.
    fn write_some(&mut self, times: u64) {
        for inode in &mut self.inodes {
            for sector in inode.dirty.clone() {
                if self.random.one_in(times) {
                    inode.flush(sector);
                }
            }
        }
    }

    /// The process dies; the kernel lives on.
    pub fn kill(&mut self) {
        self.inodes.iter_mut().for_each(|it| it.locked_by = None);
    }

    /// Everything is gone that the disk does not have.
    pub fn fail_power(&mut self) {
        self.kill();
        self.write_back();
        for inode in &mut self.inodes {
            // A length may be known before what is there.
            let len = inode.bytes.len();
            if !inode.dirty.is_empty() && len > inode.durable.len() && self.random.one_in(2) {
                let len = self.random.size(inode.durable.len(), len);
                inode.durable.resize(len, 0);
            }
            inode.bytes = inode.durable.clone();
            inode.dirty.clear();
        }
        // Most file systems keep the order of names, and need not.
        let changes = std::mem::take(&mut self.changes);
        let until = self.random.size(0, changes.len());
        let in_order = self.random.one_in(2);
        for (at, change) in changes.iter().enumerate() {
            let survives = match in_order {
                true => at < until,
                false => self.random.one_in(2),
            };
            if survives {
                apply(&mut self.durable_names, change);
            }
        }
        self.names = self.durable_names.clone();
        self.forget_unnamed();
    }

    /// Something in a segment is not what was written any more, from that byte on.
    pub fn rot(&mut self, from: usize) {
        let Some(inode) = self.some_segment() else {
            return;
        };
        let inode = &mut self.inodes[inode];
        let len = inode.durable.len().min(inode.bytes.len());
        if len > from {
            let at = self.random.size(from, len - 1);
            let flip = self.random.within(1, 255) as u8;
            inode.durable[at] ^= flip;
            inode.bytes[at] ^= flip;
        }
    }

    /// Changes what is in a segment, and nobody could tell.
    pub fn forge(&mut self, forge: impl FnOnce(&mut Vec<u8>)) {
        if let Some(inode) = self.some_segment() {
            let inode = &mut self.inodes[inode];
            forge(&mut inode.bytes);
            inode.durable.clone_from(&inode.bytes);
        }
    }

    fn some_segment(&mut self) -> Option<usize> {
        let is_segment = |(at, name): &&Name| {
            *at == ROOT && name.to_str().is_some_and(|it| it.ends_with(".segment"))
        };
        let names: Vec<_> = self.names.keys().filter(is_segment).collect();
        let at = self.random.size(0, names.len().max(1) - 1);
        names.get(at).map(|name| self.names[*name])
    }
}

fn apply(names: &mut BTreeMap<Name, usize>, change: &[(Name, Option<usize>)]) {
    for (name, inode) in change {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

/// The root, open.
pub fn open_root(disk: &Rc<RefCell<Disk>>) -> Open {
    open_inode(disk, ROOT)
}

fn open_inode(disk: &Rc<RefCell<Disk>>, inode: usize) -> Open {
    let mut state = disk.borrow_mut();
    state.opened += 1;
    Open {
        disk: Rc::clone(disk),
        inode,
        id: state.opened,
    }
}

impl Open {
    fn with<R>(&self, what: impl FnOnce(&mut Disk, usize) -> R) -> R {
        what(&mut self.disk.borrow_mut(), self.inode)
    }

    /// Opens what has that name, or makes a file.
    pub fn open_in(&self, name: &OsStr, create: bool, only_new: bool) -> Result<Self, Errno> {
        let inode = self.with(|disk, directory| {
            let key = (directory, name.to_owned());
            match disk.names.get(&key) {
                Some(_) if only_new => Err(Errno::EXIST),
                Some(inode) => Ok(*inode),
                None if create => Ok(disk.make(key, false)),
                None => Err(Errno::NOENT),
            }
        })?;
        Ok(open_inode(&self.disk, inode))
    }

    pub fn make_in(&self, name: &OsStr) -> Result<(), Errno> {
        self.with(|disk, directory| {
            let key = (directory, name.to_owned());
            match disk.names.contains_key(&key) {
                true => Err(Errno::EXIST),
                false => {
                    disk.make(key, true);
                    Ok(())
                }
            }
        })
    }

    pub fn remove_in(&self, name: &OsStr) -> Result<(), Errno> {
        self.with(|disk, directory| {
            let key = (directory, name.to_owned());
            if !disk.names.contains_key(&key) {
                return Err(Errno::NOENT);
            }
            disk.change(vec![(key, None)]);
            Ok(())
        })
    }

    pub fn move_to(&self, name: &OsStr, to: &Self, new_name: &OsStr) -> Result<(), Errno> {
        let to = to.inode;
        self.with(|disk, directory| {
            let from = (directory, name.to_owned());
            let inode = *disk.names.get(&from).ok_or(Errno::NOENT)?;
            let to = (to, new_name.to_owned());
            disk.change(vec![(from, None), (to, Some(inode))]);
            Ok(())
        })
    }

    pub fn list(&self) -> Vec<OsString> {
        self.with(|disk, directory| {
            let names = disk.names.keys().filter(|(at, _)| *at == directory);
            names.map(|(_, name)| name.clone()).collect()
        })
    }

    /// Is it a directory, its mode, its length, and its number.
    pub fn stat(&self) -> (bool, u32, usize, usize) {
        self.with(|disk, inode| {
            let it = &disk.inodes[inode];
            (it.is_directory, it.mode, it.bytes.len(), inode)
        })
    }

    pub fn set_mode(&self, mode: u32) {
        self.with(|disk, inode| disk.inodes[inode].mode = mode);
    }

    pub fn lock(&self) -> Result<(), Errno> {
        let id = self.id;
        self.with(|disk, inode| {
            let locked_by = &mut disk.inodes[inode].locked_by;
            match *locked_by {
                Some(other) if other != id => Err(Errno::WOULDBLOCK),
                _ => {
                    *locked_by = Some(id);
                    Ok(())
                }
            }
        })
    }

    pub fn truncate(&self, len: usize) {
        self.with(|disk, inode| {
            let it = &mut disk.inodes[inode];
            let (from, to) = (it.bytes.len().min(len), it.bytes.len().max(len));
            it.bytes.resize(len, 0);
            // A shorter length is known at once, which is the worst of it.
            it.durable.truncate(len);
            it.touch(from, to);
        });
    }

    pub fn read_at(&self, into: &mut [u8], at: usize) -> usize {
        self.with(|disk, inode| {
            let bytes = disk.inodes[inode].bytes.get(at..).unwrap_or_default();
            let len = bytes.len().min(into.len());
            into[..len].copy_from_slice(&bytes[..len]);
            len
        })
    }

    /// Writes what there is room for.
    pub fn write_at(&self, bytes: &[u8], at: usize) -> Result<usize, Errno> {
        self.with(|disk, inode| {
            let room = disk.capacity.saturating_sub(disk.used());
            let it = &mut disk.inodes[inode];
            let there = it.bytes.len().saturating_sub(at);
            let len = bytes.len().min(there.saturating_add(room));
            if len == 0 && !bytes.is_empty() {
                return Err(Errno::NOSPC);
            }
            let end = at + len;
            if it.bytes.len() < end {
                it.bytes.resize(end, 0);
            }
            it.bytes[at..end].copy_from_slice(&bytes[..len]);
            it.touch(at, end);
            Ok(len)
        })
    }

    /// What a sync is to bring to the disk.
    pub fn begin_sync(&self) -> Syncing {
        self.with(|disk, inode| Syncing {
            disk: Rc::clone(&self.disk),
            inode,
            sectors: disk.inodes[inode].dirty.clone(),
            len: disk.inodes[inode].bytes.len(),
            changes: disk.changes.len(),
        })
    }
}

/// See [`Open::begin_sync`].
#[derive(Debug)]
pub struct Syncing {
    disk: Rc<RefCell<Disk>>,
    inode: usize,
    sectors: BTreeSet<usize>,
    len: usize,
    changes: usize,
}

impl Syncing {
    /// It is done. `all`: not only what is needed to read the data.
    pub fn succeed(self, all: bool) {
        let mut disk = self.disk.borrow_mut();
        if disk.loses_syncs {
            return;
        }
        if disk.inodes[self.inode].is_directory {
            if all && !disk.loses_names {
                let until = self.changes.min(disk.changes.len());
                let changes: Vec<_> = disk.changes.drain(..until).collect();
                for change in &changes {
                    apply(&mut disk.durable_names, change);
                }
            }
            return;
        }
        let inode = &mut disk.inodes[self.inode];
        for sector in self.sectors {
            inode.flush(sector);
        }
        let len = self.len.min(inode.bytes.len()).max(inode.durable.len());
        inode.durable.resize(len, 0);
    }

    /// It fails: some of it is on the disk, and what is not is held for written.
    /// The kernel may drop that from its memory, too.
    pub fn fail(self) {
        let mut disk = self.disk.borrow_mut();
        let disk = &mut *disk;
        let forgets = disk.random.one_in(2);
        let inode = &mut disk.inodes[self.inode];
        for sector in self.sectors {
            if disk.random.one_in(2) {
                inode.flush(sector);
            } else if inode.dirty.remove(&sector) && forgets {
                let (from, to) = (sector * SECTOR, (sector + 1) * SECTOR);
                for at in from..to.min(inode.bytes.len()) {
                    inode.bytes[at] = inode.durable.get(at).copied().unwrap_or(0);
                }
            }
        }
    }
}

impl Disk {
    fn make(&mut self, key: Name, is_directory: bool) -> usize {
        let inode = self.inodes.len();
        self.inodes.push(Inode {
            is_directory,
            mode: if is_directory { 0o700 } else { 0o600 },
            ..Inode::default()
        });
        self.change(vec![(key, Some(inode))]);
        inode
    }
}
