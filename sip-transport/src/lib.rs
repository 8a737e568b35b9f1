//! SIP transport: paths, flows, next hops and response routing as pure code, and a tokio driver for sockets.

pub mod capture;
pub mod core;
pub mod ingress;
pub mod limits;
pub mod locals;
pub mod path;
pub mod resolve;
pub mod response;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use crate::core::{Answer, Core, Outbox, Query, QueryKey, Question, Queues, Records, ResolveError, Srv};
pub use crate::locals::{Local, Locals, Supported};
pub use crate::path::{
    CloseReason, FlowEvent, FlowId, Path, Received, SendError, Token, Transmit, Transport,
};
