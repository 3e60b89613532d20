//! Reads a spool, or one of its segments: messages that wait to be delivered.
//!
//! All that is in the files is given, also what is known to be delivered by now:
//! a message leaves the files with its segment, when all of that is delivered.
//! Nothing is locked, so the spool may be that of a butler that is running. That
//! removes segments meanwhile, and appends to the last one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use prost::Message;

use super::assembly::FeedError;
use super::finding::Finding;
use crate::layout::MARK;
use crate::proto::logpb::ButlerLogBundle;
use crate::spool::{Found, Header, Lost, Part, Record, Walk, Why, Window, segment_number};
use crate::wire::message::MessageError;

/// A spool, or one of its segments.
#[derive(Debug)]
pub(super) struct SpoolFiles {
    path: PathBuf,
    /// It is looked for new segments.
    follows: bool,
    /// By name, which is by age.
    segments: BTreeMap<OsString, SegmentFile>,
    /// Memory that is reused.
    window: Window,
    bundle: Vec<u8>,
}

/// How far a segment was read.
#[derive(Debug, Default)]
struct SegmentFile {
    /// Where it goes on, and what its bodies lack of bundles; `None`: at its
    /// header.
    place: Option<(Walk, Vec<u8>)>,
    /// Reading stops here.
    end: Option<u64>,
    is_over: bool,
}

/// Takes the bundles of messages.
pub(super) type Feed<'a> = dyn FnMut(&[u8]) -> Result<(), FeedError> + 'a;

impl SpoolFiles {
    /// The spool in that directory; `None`: it is none.
    pub fn open(path: &Path, follows: bool) -> io::Result<Option<Self>> {
        let names = segments_in(path)?;
        // A directory output may have streams of any name.
        let is_spool = !names.is_empty() || path.join("lock").is_file();
        if !is_spool || path.join(MARK).exists() {
            return Ok(None);
        }
        let segments = names.into_iter().map(|name| (name, SegmentFile::default()));
        Ok(Some(Self {
            path: path.to_owned(),
            follows,
            segments: segments.collect(),
            window: Window::default(),
            bundle: Vec::new(),
        }))
    }

    /// The segment at that path; `None`: the file is none.
    pub fn open_segment(path: &Path) -> io::Result<Option<Self>> {
        let mut magic = [0; Header::MAGIC.len()];
        let read = File::open(path)?
            .take(magic.len() as u64)
            .read(&mut magic)?;
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        Ok((magic[..read] == *Header::MAGIC).then(|| Self {
            path: directory.to_owned(),
            follows: false,
            segments: BTreeMap::from([(name.to_owned(), SegmentFile::default())]),
            window: Window::default(),
            bundle: Vec::new(),
        }))
    }

    /// Starts again from the beginning; unless it is followed, up to where
    /// reading came the last time.
    pub fn rewind(&mut self) {
        for segment in self.segments.values_mut() {
            (segment.place, segment.is_over) = (None, false);
        }
    }

    /// Gives the bundle of every message that is there, or up to something that
    /// is to be told; `None` when there is nothing more. Errors are those of
    /// `feed`.
    pub fn read(&mut self, feed: &mut Feed<'_>) -> io::Result<Option<Finding>> {
        if self.follows
            && let Ok(names) = segments_in(&self.path)
        {
            self.segments.retain(|name, _| names.contains(name));
            for name in names {
                self.segments.entry(name).or_default();
            }
        }
        for (name, segment) in &mut self.segments {
            let path = self.path.join(name);
            let reading = Reading {
                path: &path,
                follows: self.follows,
                window: &mut self.window,
                bundle: &mut self.bundle,
            };
            if let Some(finding) = segment.read(reading, feed)? {
                return Ok(Some(finding));
            }
        }
        // A message is large.
        self.bundle = Vec::new();
        Ok(None)
    }
}

fn segments_in(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        // Nothing is followed that is a link, and a FIFO would be waited for.
        if segment_number(&name).is_some() && entry.file_type().is_ok_and(|it| it.is_file()) {
            names.push(name);
        }
    }
    Ok(names)
}

/// What a segment is read with.
struct Reading<'a> {
    path: &'a Path,
    follows: bool,
    window: &'a mut Window,
    bundle: &'a mut Vec<u8>,
}

impl SegmentFile {
    fn read(&mut self, reading: Reading<'_>, feed: &mut Feed<'_>) -> io::Result<Option<Finding>> {
        if self.is_over {
            return Ok(None);
        }
        let path = reading.path.to_owned();
        match self.read_on(reading, feed) {
            Ok(finding) => Ok(finding),
            Err(Stop::Refused(error)) => Err(error),
            Err(Stop::Unreadable(error)) => {
                self.is_over = true;
                let at = self.place.as_ref().map_or(0, |(walk, _)| walk.at());
                // All of it was delivered meanwhile.
                let is_gone = error.kind() == io::ErrorKind::NotFound;
                let finding = Finding::Unreadable(path, at, error);
                Ok((!is_gone).then_some(finding))
            }
        }
    }

    fn read_on(
        &mut self,
        mut it: Reading<'_>,
        feed: &mut Feed<'_>,
    ) -> Result<Option<Finding>, Stop> {
        let mut file = File::open(it.path)?;
        let len = file.metadata()?.len();
        let end = match it.follows {
            true => len,
            false => *self.end.get_or_insert(len),
        };
        let mut place = match self.place.take() {
            Some(place) => place,
            // Its butler has come no further.
            None if end == 0 => return Ok(None),
            None => match Header::read(&file)? {
                Ok((header, bytes)) => {
                    let owner = ButlerLogBundle {
                        project: header.run.project,
                        prefix: header.run.prefix,
                        ..Default::default()
                    };
                    let walk = Walk::new(header.marker, bytes.len() as u64);
                    (walk, owner.encode_to_vec())
                }
                Err(error) => {
                    self.is_over = true;
                    return Ok(Some(Finding::NoSegment(it.path.to_owned(), error)));
                }
            },
        };
        it.window.clear();
        let (walk, owner) = &mut place;
        let found = loop {
            let before = *walk;
            match walk.next(&mut file, end, it.window) {
                Ok(None) => break Ok(None),
                // It may be written at this moment.
                Ok(Some(Found::Lost(lost))) if lost.why == Why::Cut && it.follows => {
                    *walk = before;
                    break Ok(None);
                }
                Ok(Some(Found::Lost(lost))) => break Ok(Some(of_lost(it.path, &lost))),
                Ok(Some(Found::Record(record))) => match it.give(&mut file, &record, owner, feed) {
                    Ok(None) => {}
                    found => break found,
                },
                Err(error) => {
                    *walk = before;
                    break Err(error.into());
                }
            }
        };
        self.place = Some(place);
        found
    }
}

/// Why reading a segment stops.
enum Stop {
    /// Whoever takes what is read does not.
    Refused(io::Error),
    Unreadable(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl Reading<'_> {
    /// Gives the bundle of a record, whose owner's fields are those.
    fn give(
        &mut self,
        file: &mut File,
        record: &Record,
        owner: &[u8],
        feed: &mut Feed<'_>,
    ) -> Result<Option<Finding>, Stop> {
        self.bundle.clear();
        self.bundle.resize(record.body.len as usize, 0);
        let is_whole = self.window.read(file, record.body_at, self.bundle)?;
        if !is_whole || !record.has_body(self.bundle) {
            let len = record.end() - record.at;
            let names = names_of(&record.manifest.streams);
            let path = self.path.to_owned();
            return Ok(Some(Finding::Damaged(path, record.at, len, names)));
        }
        self.bundle.extend_from_slice(owner);
        match feed(self.bundle) {
            Ok(()) => Ok(None),
            Err(FeedError::Refused(error)) => Err(Stop::Refused(error)),
            Err(FeedError::Malformed(_)) => {
                let (path, why) = (self.path.to_owned(), MessageError::Data);
                Ok(Some(Finding::Malformed(path, record.at, why)))
            }
        }
    }
}

fn of_lost(path: &Path, lost: &Lost) -> Finding {
    let (path, names) = (path.to_owned(), names_of(&lost.streams));
    match lost.why {
        Why::Cut => Finding::Torn(path, lost.at, lost.len as usize),
        Why::Damaged => Finding::Damaged(path, lost.at, lost.len, names),
    }
}

fn names_of(streams: &[Part]) -> Vec<String> {
    let names = streams.iter().map(|part| part.name.as_str().to_owned());
    names.collect()
}
