//! A flat map from keys to values: one vector, freed places used again.
//!
//! A key holds the place and its generation, so that a key of a value that is
//! gone never finds the next one in its place.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// Where a value lives. `K` says of what kind it is: keys of one kind are no
/// keys of another.
pub struct Key<K> {
    index: u32,
    generation: u32,
    kind: PhantomData<fn() -> K>,
}

impl<K> Key<K> {
    fn new(index: u32, generation: u32) -> Self {
        Self {
            index,
            generation,
            kind: PhantomData,
        }
    }

    /// As one number of 56 bits, to go through the kernel and back.
    pub fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key that [`to_u64`](Self::to_u64) made.
    pub fn from_u64(number: u64) -> Self {
        Self::new(number as u32, (number >> 32) as u32)
    }
}

// Derived, these would ask the same of `K`.
impl<K> Clone for Key<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Key<K> {}

impl<K> PartialEq for Key<K> {
    fn eq(&self, other: &Self) -> bool {
        self.to_u64() == other.to_u64()
    }
}

impl<K> Eq for Key<K> {}

impl<K> PartialOrd for Key<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Key<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.to_u64().cmp(&other.to_u64())
    }
}

impl<K> Hash for Key<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_u64().hash(state);
    }
}

impl<K> fmt::Debug for Key<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// See the module.
#[derive(Debug)]
pub struct Arena<T, K = T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    kind: PhantomData<fn() -> K>,
}

impl<T, K> Default for Arena<T, K> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            kind: PhantomData,
        }
    }
}

impl<T, K> Arena<T, K> {
    /// Puts a value in.
    pub fn insert(&mut self, value: T) -> Key<K> {
        self.insert_with(|_| value)
    }

    /// Puts a value in that knows its key.
    pub fn insert_with(&mut self, make: impl FnOnce(Key<K>) -> T) -> Key<K> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                generation: 0,
                value: None,
            });
            u32::try_from(self.places.len() - 1).expect("streams are fewer than descriptors")
        });
        let place = &mut self.places[index as usize];
        let key = Key::new(index, place.generation);
        place.value = Some(make(key));
        key
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: Key<K>) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        // 24 bits, so that a key leaves room for a tag when it travels.
        place.generation = (place.generation + 1) & 0x00ff_ffff;
        self.free.push(key.index);
        Some(value)
    }

    /// The value of `key`, if it is still there.
    pub fn get(&self, key: Key<K>) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        (place.generation == key.generation)
            .then_some(place.value.as_ref())
            .flatten()
    }

    /// The value of `key`, if it is still there.
    pub fn get_mut(&mut self, key: Key<K>) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        (place.generation == key.generation)
            .then_some(place.value.as_mut())
            .flatten()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values with their keys, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = (Key<K>, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let key = Key::new(index as u32, place.generation);
            place.value.as_ref().map(|value| (key, value))
        })
    }

    /// All values, in the order of their places.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places
            .iter_mut()
            .filter_map(|place| place.value.as_mut())
    }

    /// The keys of all values.
    pub fn keys(&self) -> Vec<Key<K>> {
        self.iter().map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nothing() {
        let mut arena = Arena::<&str>::default();
        let a = arena.insert("a");
        let b = arena.insert("b");
        assert_eq!(arena.remove(a), Some("a"));
        assert_eq!(arena.remove(a), None);
        let c = arena.insert("c");
        assert_ne!(a, c);
        assert_eq!(arena.get(a), None);
        assert_eq!(arena.get_mut(a), None);
        assert_eq!(arena.get(Key::from_u64(c.to_u64())), Some(&"c"));
        assert_eq!(arena.keys(), [c, b]);
        assert_eq!(arena.len(), 2);
        assert!(!arena.is_empty());
        arena.remove(b);
        arena.remove(c);
        assert!(arena.is_empty());
    }

    #[test]
    fn generations_begin_again() {
        let mut arena = Arena::<&str>::default();
        arena.insert("a");
        arena.places[0].generation = 0x00ff_ffff;
        let last = arena.keys()[0];
        assert_eq!(last.to_u64(), 0x00ff_ffff_0000_0000);
        arena.remove(last);
        let first = arena.insert("b");
        assert_eq!(first.to_u64(), 0);
        assert_eq!((arena.get(first), arena.get(last)), (Some(&"b"), None));
        // Below that, one after the other.
        arena.remove(first);
        assert_eq!(arena.insert("c").to_u64(), 1 << 32);
    }
}
