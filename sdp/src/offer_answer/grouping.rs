//! Which streams belong together, as the local side wants it.

use super::local::LocalMediaError;

/// Which streams belong to one group, by their indexes in [`LocalMedia::streams`](super::LocalMedia::streams).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Grouping {
    /// `None`: each for itself; no list at all: all together. Small, since every session keeps two.
    groups: Option<Box<[Vec<usize>]>>,
}

impl Grouping {
    /// Each stream is for itself.
    pub fn apart() -> Self {
        Grouping::default()
    }

    /// All streams that can are in one group. An offer of the peer may make several of them.
    pub fn together() -> Self {
        Grouping { groups: Some(Box::default()) }
    }

    /// These groups; streams in none of them are for themselves.
    pub fn groups(groups: impl IntoIterator<Item = Vec<usize>>) -> Self {
        let groups: Box<[Vec<usize>]> = groups.into_iter().collect();
        if groups.is_empty() { Grouping::apart() } else { Grouping { groups: Some(groups) } }
    }

    pub(super) fn is_apart(&self) -> bool {
        self.groups.is_none()
    }

    pub(super) fn is_together(&self) -> bool {
        self.groups.as_ref().is_some_and(|groups| groups.is_empty())
    }

    /// The group that a stream shall be in.
    pub(super) fn of(&self, stream: usize) -> Option<usize> {
        match self.groups.as_deref()? {
            [] => Some(0),
            groups => groups.iter().position(|group| group.contains(&stream)),
        }
    }

    /// Whether two streams may be in one group.
    pub(super) fn joins(&self, one: usize, other: usize) -> bool {
        self.of(one).is_some_and(|group| self.of(other) == Some(group))
    }

    /// The same with one more group.
    pub(super) fn and(self, group: Vec<usize>) -> Self {
        Grouping::groups(self.groups.unwrap_or_default().into_vec().into_iter().chain([group]))
    }

    /// Each group names streams that there are, and each stream once (RFC 9143 §5).
    pub(super) fn validate(&self, streams: usize) -> Result<(), LocalMediaError> {
        let mut named = self.groups.iter().flatten().flatten();
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
