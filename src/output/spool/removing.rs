//! How segments leave the spool.

use super::place::segment_name;
use super::{Shelf, Store};
use crate::edge::io::Io;

impl<D: 'static> Store<D> {
    /// Removes the segments that nobody needs any more. One in which something was
    /// damaged is put away, for those who want to know.
    pub(super) fn sweep<I: Io<Fd = D>>(&mut self, io: &mut I) {
        for is_own in [true, false] {
            let mut from = 0;
            while let Some(at) = self.shelf(is_own).over(from) {
                let segment = &self.shelf(is_own).segments[at];
                let (number, damaged) = (segment.number, segment.damaged);
                let name = segment_name(number);
                let removed = match damaged {
                    true => self.place.put_away(io, number),
                    false => self.place.remove(io, &name),
                };
                if let Err(errno) = removed {
                    // It is said in the facts that it is done.
                    log::debug!("spool: {name} is not needed, and stays: {errno}");
                    from = at + 1;
                    continue;
                }
                let segment = self.shelf(is_own).segments.remove(at);
                let segment = segment.expect("it was just there");
                self.used -= segment.end;
                self.acks.forget(number);
                self.syncing.removed(number, segment.file);
            }
        }
    }

    pub(super) fn shelf(&mut self, is_own: bool) -> &mut Shelf<D> {
        match is_own {
            true => &mut self.own,
            false => &mut self.earlier,
        }
    }

    /// Nothing follows. What is done is removed, and what is not stays for the next
    /// butler.
    pub fn close<I: Io<Fd = D>>(&mut self, io: &mut I) {
        for segment in &mut self.own.segments {
            segment.is_open = false;
        }
        self.sweep(io);
        if let Err(errno) = self.acks.write(io, &self.place) {
            self.health.failed_for_good(&errno);
        }
        if self.own.segments.is_empty() && self.earlier.segments.is_empty() {
            self.compact(io);
        }
    }
}

impl<D: 'static> Shelf<D> {
    /// The first segment from there on that nobody needs.
    fn over(&self, from: usize) -> Option<usize> {
        let mut segments = self.segments.iter().enumerate().skip(from);
        segments.find_map(|(at, segment)| segment.is_over().then_some(at))
    }
}
