//! How a spool begins: what is there, and whose it is.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::acks::{Acks, NAME};
use super::appending::Appending;
use super::place::{Place, segment_name};
use super::segment::{Opened, Segment};
use super::syncing::Syncing;
use super::{Health, Owner, Shelf, SpoolError, SpoolSettings, Store, SyncPolicy};
use crate::delivery::message::Identity;
use crate::delivery::stored::{Registration, Run};
use crate::edge::io::Io;
use crate::proto::spool::{SpoolRegistration, SpoolRun};
use crate::secret::Secret;
use crate::spool::{Fact, HeaderError};

impl Owner {
    /// This butler.
    fn own(run: Arc<Run>) -> Self {
        let random = RandomState::new();
        let id = [random.hash_one(0), random.hash_one(1)].map(u64::to_le_bytes);
        let header = SpoolRun {
            id: id.concat().into(),
            project: run.identity.project.clone(),
            prefix: run.identity.prefix.clone(),
            secret: run.identity.secret.expose().clone(),
            topic: run.topic.clone().unwrap_or_default(),
            registration: run.registration.as_ref().map(registration_out),
        };
        Self {
            held: header.registration.is_some(),
            run,
            header,
        }
    }

    fn earlier(header: SpoolRun) -> Self {
        let identity = Identity {
            project: header.project.clone(),
            prefix: header.prefix.clone(),
            secret: Secret::new(header.secret.clone()),
        };
        let topic = Some(header.topic.clone()).filter(|topic| !topic.is_empty());
        let run = match &header.registration {
            Some(registration) => Run::unregistered(identity, registration_in(registration)),
            None => Run::new(identity, topic),
        };
        Self {
            held: header.registration.is_some(),
            run: Arc::new(run),
            header,
        }
    }

    /// Its prefix is registered.
    pub(super) fn register(&mut self, secret: Secret, topic: String) {
        let header = SpoolRun {
            secret: secret.expose().clone(),
            topic,
            registration: None,
            ..self.header.clone()
        };
        *self = Self::earlier(header);
    }
}

fn registration_out(registration: &Registration) -> SpoolRegistration {
    SpoolRegistration {
        coordinator: registration.coordinator.clone(),
        service: registration.service.clone(),
        realm: registration.realm.clone(),
        nonce: registration.nonce.expose().clone(),
        expiration: registration.expiration.map(|time| prost_types::Duration {
            seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            nanos: time.subsec_nanos() as i32,
        }),
    }
}

fn registration_in(registration: &SpoolRegistration) -> Registration {
    Registration {
        coordinator: registration.coordinator.clone(),
        service: registration.service.clone(),
        realm: registration.realm.clone(),
        nonce: Secret::new(registration.nonce.clone()),
        // One that is negative nobody has written.
        expiration: registration
            .expiration
            .and_then(|time| Duration::try_from(time).ok()),
    }
}

/// What there was before.
struct Earlier<D> {
    segments: VecDeque<Segment<D>>,
    runs: Vec<Owner>,
    used: u64,
    last: u32,
    /// Segments of which nothing can be read.
    lost: u64,
}

impl<D: 'static> Store<D> {
    /// Opens the spool at that place for a butler whose messages are those of
    /// `own`.
    ///
    /// # Errors
    ///
    /// If the directory can't be had, or is another butler's, or has something
    /// that only a later butler can read. Damage is no error: it is told, and what
    /// can't be read is put away.
    pub fn open<I: Io<Fd = D>>(
        io: &mut I,
        settings: &SpoolSettings,
        own: impl Into<Arc<Run>>,
    ) -> Result<Self, SpoolError> {
        let place = Place::open(io, &settings.path)?;
        Self::begin(io, settings.clone(), place, own.into())
    }

    /// Opens the spool that is at that place, to send what is in it. With `keeps`
    /// nothing in it is changed: what was sent is so again the next time.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and if there is no spool. An empty directory
    /// is one.
    pub fn open_there<I: Io<Fd = D>>(
        io: &mut I,
        path: &Path,
        keeps: bool,
    ) -> Result<Self, SpoolError> {
        let place = Place::open_there(io, path, keeps)?;
        let mut settings = SpoolSettings::new(path);
        if place.keeps() {
            settings.sync = SyncPolicy::Never;
        }
        let nobody = Run::new(Identity::default(), None);
        Self::begin(io, settings, place, nobody.into())
    }

    fn begin<I: Io<Fd = D>>(
        io: &mut I,
        settings: SpoolSettings,
        place: Place<D>,
        own: Arc<Run>,
    ) -> Result<Self, SpoolError> {
        let mut earlier = Earlier {
            segments: VecDeque::new(),
            runs: vec![Owner::own(own)],
            used: 0,
            last: place.last_put_away(io),
            lost: 0,
        };
        let numbers = place.segments(io).map_err(|errno| SpoolError::Directory {
            path: place.path().to_owned(),
            error: errno.into(),
        })?;
        for number in numbers {
            earlier.find(io, &place, number)?;
        }
        let (acks, facts) = Acks::open(io, &place).map_err(|error| match error {
            HeaderError::Newer(version) => newer(&place, NAME.into(), version),
            HeaderError::Damaged => unreachable!("then there are no facts"),
        })?;
        earlier.learn(&facts);
        let is_clean = earlier.segments.is_empty() || place.keeps();
        let health = Health::new(format!("spool {}", place.path().display()));
        let mut store = Self {
            syncing: Syncing::new(settings.sync, is_clean),
            settings,
            place,
            runs: earlier.runs,
            own: Shelf::new(VecDeque::new()),
            earlier: Shelf::new(earlier.segments),
            acks,
            next_number: earlier.last.saturating_add(1),
            used: earlier.used,
            appending: Appending::default(),
            losses: Vec::new(),
            segments_lost: earlier.lost,
            health,
        };
        if !facts.is_empty() {
            store.compact(io);
        }
        Ok(store)
    }

    /// Writes the file of facts anew, without those that are about nothing.
    pub(super) fn compact<I: Io<Fd = D>>(&mut self, io: &mut I) {
        use crate::proto::spool::spool_fact::{Done, Registered};
        let segments = self.earlier.segments.iter().chain(&self.own.segments);
        let done = segments.flat_map(|segment| {
            segment.done.iter().map(|(first, last)| {
                Fact::Done(Done {
                    segment: segment.number.into(),
                    marker: segment.marker,
                    first,
                    last,
                    refused: false,
                })
            })
        });
        // What they had in their headers they have there still.
        let registered = self.runs.iter().filter_map(|owner| {
            let header = &owner.header;
            let is_known = header.registration.is_none() && !header.secret.is_empty();
            is_known.then(|| {
                Fact::Registered(Registered {
                    run: header.id.clone(),
                    secret: header.secret.clone(),
                    topic: header.topic.clone(),
                })
            })
        });
        let is_nothing_left = self.earlier.segments.is_empty() && self.own.segments.is_empty();
        let compacted = match is_nothing_left {
            true => self.acks.remove(io, &self.place),
            false => self.acks.compact(io, &self.place, done.chain(registered)),
        };
        match compacted {
            Ok(before) => self.syncing.replaced(before),
            Err(errno) => log::debug!("spool: {NAME} is not written anew: {errno}"),
        }
    }
}

impl<D: 'static> Earlier<D> {
    fn find<I: Io<Fd = D>>(
        &mut self,
        io: &mut I,
        place: &Place<D>,
        number: u32,
    ) -> Result<(), SpoolError> {
        self.last = self.last.max(number);
        let name = segment_name(number);
        match Segment::open(io, place, number) {
            Ok(Opened::Segment(found)) => {
                let (mut segment, run) = *found;
                segment.run = self.run_of(run);
                self.used += segment.end;
                self.segments.push_back(segment);
            }
            // Its butler has come no further, and nothing is lost.
            Ok(Opened::Empty) => {
                if let Err(errno) = place.remove(io, &name) {
                    log::debug!("spool: the empty {name} stays: {errno}");
                }
            }
            Ok(Opened::Newer(version)) => return Err(newer(place, name, version)),
            Ok(Opened::Corrupt) => {
                log::error!(
                    "spool {}: {name} is no segment, or its header is damaged: what is in it is \
                     lost",
                    place.path().display()
                );
                if let Err(errno) = place.put_away(io, number) {
                    log::error!("spool: {name} can't be put away: {errno}");
                }
                self.lost += 1;
            }
            Err(error) => {
                log::error!(
                    "spool {}: {name} can't be read, and is left for the next butler: {error}",
                    place.path().display()
                );
                self.lost += 1;
            }
        }
        Ok(())
    }

    /// The place of the run that has that header among the runs.
    fn run_of(&mut self, run: SpoolRun) -> usize {
        // Ours has no segments yet.
        let known = self.runs[1..]
            .iter()
            .position(|owner| owner.header.id == run.id);
        match known {
            Some(at) => {
                // Of a prefix that was registered meanwhile the later segments know.
                let owner = &mut self.runs[at + 1];
                if owner.header.registration.is_some() && run.registration.is_none() {
                    *owner = Owner::earlier(run);
                }
                at + 1
            }
            None => {
                self.runs.push(Owner::earlier(run));
                self.runs.len() - 1
            }
        }
    }

    /// Takes in what became known.
    fn learn(&mut self, facts: &[Fact]) {
        for fact in facts {
            match fact {
                Fact::Done(done) => {
                    let found = self.segments.iter_mut().find(|segment| {
                        u64::from(segment.number) == done.segment && segment.marker == done.marker
                    });
                    if let Some(segment) = found {
                        segment.done.insert(done.first, done.last);
                    }
                }
                Fact::Registered(registered) => {
                    let mut runs = self.runs[1..].iter_mut();
                    if let Some(owner) = runs.find(|owner| owner.header.id == registered.run) {
                        let secret = Secret::new(registered.secret.clone());
                        owner.register(secret, registered.topic.clone());
                    }
                }
            }
        }
    }
}

fn newer<D: 'static>(place: &Place<D>, file: String, version: u32) -> SpoolError {
    SpoolError::Newer {
        path: place.path().to_owned(),
        file,
        version,
    }
}
