//! Messages in memory: for tests and the simulator, and where a restart may lose them.

use std::collections::{BTreeMap, VecDeque};

use super::{MessageAnswer, MessageQuestion, StoredMessage};
use crate::AddressOfRecord;

/// All users' messages at one time.
const LIMIT: usize = 100_000;

/// A store in memory that answers at once.
#[derive(Clone, Debug, Default)]
pub struct MemoryMessages {
    users: BTreeMap<AddressOfRecord, VecDeque<StoredMessage>>,
    last: u64,
    total: usize,
}

impl MemoryMessages {
    /// A store without messages.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does what is asked.
    pub fn answer(&mut self, question: MessageQuestion) -> MessageAnswer {
        match question {
            MessageQuestion::Keep { mut message, limit } => {
                let queue = self.users.entry(message.aor.clone()).or_default();
                if queue.len() >= limit || self.total >= LIMIT {
                    return MessageAnswer::Full;
                }
                self.last = self.last.saturating_add(1);
                self.total = self.total.saturating_add(1);
                message.id = self.last;
                queue.push_back(message);
                MessageAnswer::Kept(self.last)
            }
            MessageQuestion::Next { aor } => {
                MessageAnswer::Next(self.users.get(&aor).and_then(|queue| queue.front().cloned()))
            }
            MessageQuestion::Remove { aor, id } => {
                if let Some(queue) = self.users.get_mut(&aor) {
                    let before = queue.len();
                    queue.retain(|message| message.id != id);
                    self.total = self.total.saturating_sub(before.saturating_sub(queue.len()));
                    if queue.is_empty() {
                        self.users.remove(&aor);
                    }
                }
                MessageAnswer::Removed
            }
            MessageQuestion::Holders => MessageAnswer::Holders(self.users.keys().cloned().collect()),
        }
    }

    /// Messages that wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.total
    }

    /// Whether none waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }
}
