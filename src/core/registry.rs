//! Every name that was ever used, and the account of each stream whose end has
//! come. (The core has those of the open ones at hand.)

use ahash::AHashMap;

use crate::keys::StreamKey;
use crate::ledger::Account;
use crate::wire::name::StreamName;

#[derive(Debug, Default)]
pub(super) struct Registry {
    names: AHashMap<StreamName, Registered>,
}

#[derive(Debug)]
enum Registered {
    Open(StreamKey),
    /// It has ended, and something of it is still with the output.
    Ending(Box<Ending>),
    /// It is over, and so many bytes, which are all of its, are delivered.
    Delivered(u64),
    /// It is over, and not all of it is delivered.
    Over(Box<Account>),
}

#[derive(Debug)]
struct Ending {
    account: Account,
    /// Messages that it is in, and whose outcome is not known.
    messages: u32,
    /// Bytes that these keep of it in memory.
    memory: usize,
}

impl Registered {
    /// What is kept once there is nothing left to happen to its bytes.
    fn over(account: Account) -> Self {
        match account.delivered() == account.accepted() {
            true => Self::Delivered(account.delivered()),
            false => Self::Over(Box::new(account)),
        }
    }

    /// `None`: it is open, and somebody else has it.
    fn account(&self) -> Option<Account> {
        match self {
            Self::Open(_) => None,
            Self::Ending(ending) => Some(ending.account),
            Self::Delivered(bytes) => Some(Account::of_delivered(*bytes)),
            Self::Over(account) => Some(**account),
        }
    }
}

impl Registry {
    pub fn contains(&self, name: &StreamName) -> bool {
        self.names.contains_key(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &StreamName> {
        self.names.keys()
    }

    pub fn open(&mut self, name: StreamName, key: StreamKey) {
        self.names.insert(name, Registered::Open(key));
    }

    /// The open stream of that name.
    pub fn find(&self, name: &str) -> Option<StreamKey> {
        match self.names.get(name) {
            Some(Registered::Open(key)) => Some(*key),
            _ => None,
        }
    }

    /// The account of a stream that has ended.
    pub fn account(&self, name: &str) -> Option<Account> {
        self.names.get(name)?.account()
    }

    /// The stream has ended, and is in so many messages, which keep so many
    /// bytes of it in memory.
    pub fn end(&mut self, name: &StreamName, account: Account, messages: u32, memory: usize) {
        let registered = match messages {
            0 => Registered::over(account),
            _ => Registered::Ending(Box::new(Ending {
                account,
                messages,
                memory,
            })),
        };
        self.names.insert(name.clone(), registered);
    }

    /// The outcome of a message with bytes of a stream that has ended is
    /// known. Returns the bytes of memory that are kept no more.
    ///
    /// # Panics
    ///
    /// If the stream was in no such message.
    pub fn settle(&mut self, name: &StreamName, change: impl FnOnce(&mut Account)) -> usize {
        let Some(Registered::Ending(ending)) = self.names.get_mut(name) else {
            panic!("{name} is in a message, so that it is open or ending");
        };
        ending.messages -= 1;
        let forgotten = match ending.messages {
            0 => ending.memory,
            _ => 0,
        };
        self.book(name, change);
        forgotten
    }

    /// Moves bytes in the account of a stream that has ended.
    pub fn book(&mut self, name: &StreamName, change: impl FnOnce(&mut Account)) {
        let Some(registered) = self.names.get_mut(name) else {
            panic!("{name} was a stream");
        };
        if let Registered::Ending(ending) = registered {
            change(&mut ending.account);
            if ending.messages > 0 || ending.account.pending() > 0 {
                return;
            }
            *registered = Registered::over(ending.account);
        } else if let Some(mut account) = registered.account() {
            change(&mut account);
            *registered = Registered::over(account);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::DropReason;

    #[test]
    fn an_account_outlives_its_stream() {
        let mut registry = Registry::default();
        let name: StreamName = "s".parse().unwrap();
        registry.open(name.clone(), StreamKey::from_u64(7));
        assert_eq!(registry.find("s"), Some(StreamKey::from_u64(7)));
        assert_eq!((registry.account("s"), registry.account("t")), (None, None));

        let mut account = Account::default();
        account.accept(10);
        registry.end(&name, account, 2, 100);
        assert_eq!(registry.find("s"), None);
        assert_eq!(registry.settle(&name, |it| it.deliver(4)), 0);
        assert_eq!(registry.account("s").unwrap().pending(), 6);
        // The output holds two bytes of the last message.
        assert_eq!(registry.settle(&name, |it| it.deliver(4)), 100);
        assert!(matches!(registry.names[&name], Registered::Ending(_)));
        registry.book(&name, |it| it.deliver(2));
        assert!(matches!(registry.names[&name], Registered::Delivered(10)));
        assert_eq!(registry.account("s").unwrap().accepted(), 10);
        // Somebody removes what was delivered, much later.
        registry.book(&name, |it| it.withdraw(3));
        let account = registry.account("s").unwrap();
        assert_eq!((account.delivered(), account.pending()), (7, 0));
        assert_eq!(account.dropped(DropReason::Removed), 3);
    }

    #[test]
    #[should_panic(expected = "s is in a message, so that it is open or ending")]
    fn what_is_in_no_message_is_not_settled() {
        let mut registry = Registry::default();
        let name = "s".parse().unwrap();
        registry.end(&name, Account::default(), 0, 0);
        registry.settle(&name, |_| {});
    }
}
