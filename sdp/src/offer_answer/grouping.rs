//! Which streams belong together, as the local side wants it.

use super::local::LocalMediaError;

/// Which streams belong to one group, by their indexes in [`LocalMedia::streams`](super::LocalMedia::streams).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Grouping {
    /// Each stream is for itself.
    #[default]
    Apart,
    /// All streams that can are in one group. An offer of the peer may make several of them.
    Together,
    /// These groups; streams in none of them are for themselves.
    Groups(Box<[Vec<usize>]>),
}

impl Grouping {
    /// The group that a stream shall be in.
    pub(super) fn of(&self, stream: usize) -> Option<usize> {
        match self {
            Grouping::Apart => None,
            Grouping::Together => Some(0),
            Grouping::Groups(groups) => groups.iter().position(|group| group.contains(&stream)),
        }
    }

    /// Whether two streams may be in one group.
    pub(super) fn joins(&self, one: usize, other: usize) -> bool {
        self.of(one).is_some_and(|group| self.of(other) == Some(group))
    }

    /// The same with one more group.
    pub(super) fn and(self, group: Vec<usize>) -> Self {
        let before = match self {
            Grouping::Groups(groups) => groups.into_vec(),
            Grouping::Apart | Grouping::Together => Vec::new(),
        };
        Grouping::Groups(before.into_iter().chain([group]).collect())
    }

    /// Each group names streams that there are, and each stream once (RFC 9143 §5).
    pub(super) fn validate(&self, streams: usize) -> Result<(), LocalMediaError> {
        let Grouping::Groups(groups) = self else { return Ok(()) };
        let mut named = groups.iter().flatten();
        while let Some(stream) = named.next() {
            if *stream >= streams {
                return Err(LocalMediaError::NoStream);
            }
            if named.clone().any(|other| other == stream) {
                return Err(LocalMediaError::GroupedTwice(*stream));
            }
        }
        Ok(())
    }
}
