//! SIP transport: paths, flows, next hops and response routing as pure code, and a tokio driver for sockets.

pub mod core;
pub mod path;

pub use crate::core::{
    Answer, Core, Outbox, Query, QueryKey, Question, Queues, Records, ResolveError, Srv,
};
pub use crate::path::{CloseReason, FlowEvent, FlowId, Path, Received, SendError, Token, Transmit, Transport};
