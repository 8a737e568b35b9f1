//! The driver over real sockets: UDP, TCP, TLS and WebSocket on tokio, the only place with sockets, clocks and tasks.
//!
//! Bind [`Sockets`], make a core that knows their [`locals`](Sockets::locals), and let [`Driver::spawn`] run it. The
//! [`Handle`] it returns reaches the core: [`Handle::with`] locks it, runs, and sends what it wants to send.
//!
//! The core sits behind one mutex that is never held while waiting. Whoever makes it produce something (the task of a
//! socket, the timer, a caller of `with`) sends that at once with non-blocking calls, so a message costs neither a task
//! nor a channel; only what the kernel does not take waits in a bounded queue for the task of its socket.
//!
//! Errors that the network reports by ICMP for datagrams are not seen: the operating system tells them to connected
//! sockets only. Transactions over UDP notice by their timers.

mod accept;
mod batch;
mod connection;
mod datagram;
mod dns;
mod driver;
mod establish;
mod framing;
mod hep;
#[cfg(feature = "dns")]
mod hickory;
mod listen;
mod locate;
mod proxied;
mod relocate;
mod shards;
mod socket;
mod table;
mod tap;
#[cfg(feature = "tls")]
pub mod tls;
mod udp;

pub use dns::{Resolve, Resolving, SystemResolver, default_resolver};
pub use driver::{Driver, Handle, Options};
pub use hep::HepTap;
#[cfg(feature = "dns")]
pub use hickory::{DnsResolver, NoNameServers};
pub use listen::{BindError, Listen, ListenError, Sockets};
pub use locate::locate;
pub use shards::ShardHandle;
pub use tap::Tap;
