//! The cores of a server: one, or several side by side.

use std::time::Instant;

use sip_transport::tokio::ShardHandle;

use crate::ServerCore;

/// A core that is being driven.
pub(crate) type CoreHandle = ShardHandle<ServerCore>;

/// All cores of a server.
#[derive(Clone, Debug)]
pub(super) struct Cores {
    /// The one that has what is not shared out.
    pub(super) home: CoreHandle,
    pub(super) others: Vec<CoreHandle>,
}

impl Cores {
    /// The first is the one at home; `None` if there is none.
    pub(super) fn of(handles: Vec<CoreHandle>) -> Option<Self> {
        let mut handles = handles.into_iter();
        Some(Self { home: handles.next()?, others: handles.collect() })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &CoreHandle> {
        std::iter::once(&self.home).chain(&self.others)
    }

    pub(super) fn count(&self) -> usize {
        self.others.len().saturating_add(1)
    }

    /// Has each of them do something.
    pub(super) fn each(&self, f: impl Fn(&mut ServerCore, Instant)) {
        self.all().for_each(|core| core.with(&f));
    }

    /// What each of them gives, together.
    pub(super) fn sum<T: std::ops::AddAssign>(&self, f: impl Fn(&mut ServerCore) -> T) -> T {
        let mut sum = self.home.look(&f);
        self.others.iter().for_each(|core| sum += core.look(&f));
        sum
    }
}
