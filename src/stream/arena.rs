//! A flat map from keys to values: one vector, freed places used again.
//!
//! A key holds the place and its generation, so that a key of a value that is
//! gone never finds the next one in its place.

/// Where a value lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// As one number, to go through the kernel and back.
    pub fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key that [`to_u64`](Self::to_u64) made.
    pub fn from_u64(number: u64) -> Self {
        Self {
            index: number as u32,
            generation: (number >> 32) as u32,
        }
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// See the module.
#[derive(Debug)]
pub struct Arena<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Arena<T> {
    /// Puts a value in.
    pub fn insert(&mut self, value: T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                generation: 0,
                value: None,
            });
            u32::try_from(self.places.len() - 1).expect("streams are fewer than descriptors")
        });
        let place = &mut self.places[index as usize];
        place.value = Some(value);
        Key {
            index,
            generation: place.generation,
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: Key) -> Option<T> {
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
    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        (place.generation == key.generation)
            .then_some(place.value.as_ref())
            .flatten()
    }

    /// The value of `key`, if it is still there.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
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
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let key = Key {
                index: index as u32,
                generation: place.generation,
            };
            place.value.as_ref().map(|value| (key, value))
        })
    }

    /// The keys of all values.
    pub fn keys(&self) -> Vec<Key> {
        self.iter().map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nothing() {
        let mut arena = Arena::default();
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
        let mut arena = Arena::default();
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
