//! Media passed on between two parties without decoding it.
//!
//! A [`Bridge`] has two legs. What comes on one goes out on the other, to where that party is: signalled, or learned by the
//! rules of [`session::Remote`](crate::session::Remote), so that nobody else gets or gives anything. Either leg may be
//! protected with keys of its own (SRTP), and either party may hear a stream under another SSRC, with numbers and times that go
//! on when the source changes ([`Rewrite`]); reports and feedback are translated likewise.
//!
//! ```text
//!            +--------------------- Bridge ----------------------+
//!   A <----> | Leg: latch, keys, rewrite   Leg: latch, keys, ... | <----> B
//!            +---------------------------------------------------+
//! ```
//!
//! The bridge is pure; `net` has a thread that runs many of them over sockets (feature `net`).
//!
//! ```
//! use std::time::Instant;
//! use rtp::packet::Header;
//! use rtp::relay::{Bridge, Leg, Side};
//! use rtp::session::{Channel, Remote};
//!
//! let (alice, bob) = ("192.0.2.1:4000".parse()?, "198.51.100.7:5000".parse()?);
//! let now = Instant::now();
//! let leg = |address| Leg::new(now, Some(Remote::port_pair(address)));
//! let mut bridge = Bridge::new(leg(alice), leg(bob));
//!
//! let header = Header { payload_type: 0, marker: true, sequence_number: 1, timestamp: 160, ssrc: 7 };
//! let mut datagram = header.build(&[0xff; 160])?.to_vec();
//! let forward = bridge.forward(now, Side::A, Channel::Rtp, alice, &mut datagram)?;
//! assert_eq!((forward.channel, forward.destination), (Channel::Rtp, bob));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "net")]
pub mod net;
mod reports;
mod rewrite;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use rewrite::Rewrite;

use crate::demux::{self, Protocol};
use crate::packet::{Packet, PacketError};
use crate::rtcp::{Compound, RtcpError};
use crate::session::latch::{Latch, Verdict};
use crate::session::{Channel, LATCH_WINDOW, Remote, same_host};
use crate::srtp;
use rewrite::Rewriter;

/// One of the two parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// One.
    A,
    /// The other.
    B,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Where a datagram goes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The port of the other leg to send from.
    pub channel: Channel,
    /// Where to.
    pub destination: SocketAddr,
}

/// Why a datagram goes nowhere.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// STUN, DTLS or noise.
    #[error("datagram is {0:?}, not RTP or RTCP")]
    Protocol(Protocol),
    /// Broken RTP.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// Broken RTCP.
    #[error(transparent)]
    Rtcp(#[from] RtcpError),
    /// Not from where the party is; or its place is not known yet.
    #[error("{from} is not the address of the party")]
    Foreign {
        /// The sender.
        from: SocketAddr,
    },
    /// The other party's place is not known yet.
    #[error("the other party's address is not known yet")]
    NoDestination,
    /// Another source speaks at the same time, and the stream heard can carry one.
    #[error("source {ssrc:08x} speaks while another does")]
    OtherSource {
        /// The source.
        ssrc: u32,
    },
    /// What came is not what the keys say, or nothing more can be protected with them.
    #[error(transparent)]
    Srtp(#[from] srtp::Error),
}

/// What a leg counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// RTP packets that came from the party and went on.
    pub packets: u64,
    /// Their octets as received, headers included.
    pub octets: u64,
    /// RTCP datagrams that came from the party and went on.
    pub reports: u64,
    /// Datagrams that went nowhere.
    pub dropped: u64,
    /// When the party's media was heard last.
    pub heard: Option<Instant>,
}

/// One party of a [`Bridge`].
#[derive(Debug)]
pub struct Leg {
    latch: Latch,
    multiplexed: bool,
    protection: Option<Box<srtp::Session>>,
    rewriter: Option<Box<Rewriter>>,
    statistics: Statistics,
}

impl Leg {
    /// A party that is where signalling says, or behind a NAT there ([`session::Remote`](crate::session::Remote)); if signalling
    /// does not say, where its first packets in sequence come from.
    #[must_use]
    pub fn new(now: Instant, remote: Option<Remote>) -> Self {
        let latch = match remote {
            Some(remote) => {
                let mut latch = Latch::new(now, Some(LATCH_WINDOW));
                latch.set_remote(now, remote);
                latch
            }
            None => Latch::learning(now),
        };
        Self {
            latch,
            multiplexed: false,
            protection: None,
            rewriter: None,
            statistics: Statistics::default(),
        }
    }

    /// RTP and RTCP share one port with this party (RFC 5761).
    #[must_use]
    pub fn multiplexed(mut self) -> Self {
        self.multiplexed = true;
        self
    }

    /// How long a place other than the signalled one may be learned; `None` hears the signalled one only. Default 30 s.
    #[must_use]
    pub fn latch_window(mut self, window: Option<Duration>) -> Self {
        self.latch.set_window(window);
        self
    }

    /// What this party sends is protected with the remote key of `session`, what it gets with the local one.
    #[must_use]
    pub fn protected(mut self, session: srtp::Session) -> Self {
        self.protection = Some(Box::new(session));
        self
    }

    /// This party hears a stream of ours, whatever the other one sends.
    #[must_use]
    pub fn rewritten(mut self, rewrite: Rewrite) -> Self {
        self.rewriter = Some(Box::new(Rewriter::new(rewrite)));
        self
    }
}

/// Two parties, and what goes on between them. See the [module](self).
#[derive(Debug)]
pub struct Bridge {
    a: Leg,
    b: Leg,
}

impl Bridge {
    /// Joins two parties.
    #[must_use]
    pub fn new(a: Leg, b: Leg) -> Self {
        Self { a, b }
    }

    fn leg(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// Signalling says where a party is, for the first time or anew.
    pub fn set_remote(&mut self, now: Instant, side: Side, remote: Remote) {
        self.leg(side).latch.set_remote(now, remote);
    }

    /// Signalling agreed on keys with a party, for the first time or anew; `None` for none.
    pub fn set_protection(&mut self, side: Side, session: Option<srtp::Session>) {
        self.leg(side).protection = session.map(Box::new);
    }

    /// Whether RTP and RTCP share one port with a party (RFC 5761).
    pub fn set_multiplexed(&mut self, side: Side, multiplexed: bool) {
        self.leg(side).multiplexed = multiplexed;
    }

    /// What came from a party so far.
    #[must_use]
    pub fn statistics(&self, side: Side) -> Statistics {
        match side {
            Side::A => self.a.statistics,
            Side::B => self.b.statistics,
        }
    }

    /// Takes a datagram from a party's port and makes of it, in place, what the other party gets.
    ///
    /// # Errors
    /// [`Dropped`] says why it goes nowhere; nothing needs to be done about it. The octets are then of no use.
    pub fn forward(
        &mut self,
        now: Instant,
        side: Side,
        channel: Channel,
        from: SocketAddr,
        datagram: &mut Vec<u8>,
    ) -> Result<Forward, Dropped> {
        let (source, target) = match side {
            Side::A => (&mut self.a, &mut self.b),
            Side::B => (&mut self.b, &mut self.a),
        };
        let octets = datagram.len() as u64;
        let protocol = demux::classify(datagram);
        let forwarded = match (channel, protocol) {
            (Channel::Rtp, Protocol::Rtp) => media(now, source, target, from, datagram),
            (Channel::Rtcp, Protocol::Rtcp) => reports(source, target, from, datagram),
            (Channel::Rtp, Protocol::Rtcp) if source.multiplexed => reports(source, target, from, datagram),
            _ => Err(Dropped::Protocol(protocol)),
        };
        let counters = &mut source.statistics;
        match (&forwarded, protocol) {
            (Err(_), _) => counters.dropped += 1,
            (Ok(_), Protocol::Rtp) => {
                counters.packets += 1;
                counters.octets += octets;
                counters.heard = Some(now);
            }
            (Ok(_), _) => counters.reports += 1,
        }
        forwarded
    }
}

fn media(
    now: Instant,
    source: &mut Leg,
    target: &mut Leg,
    from: SocketAddr,
    datagram: &mut Vec<u8>,
) -> Result<Forward, Dropped> {
    if source.latch.is_locked_against(from) {
        return Err(Dropped::Foreign { from });
    }
    if let Some(protection) = &mut source.protection {
        // Before the latch looks at it: nobody without the key is learned.
        protection.unprotect_rtp(datagram)?;
    }
    let header = Packet::parse(datagram)?.header;
    match source.latch.receive_rtp(now, from, header.ssrc, header.sequence_number) {
        Verdict::Accept | Verdict::Latched => {}
        Verdict::Candidate | Verdict::Reject => return Err(Dropped::Foreign { from }),
    }
    let destination = target.latch.rtp_destination().ok_or(Dropped::NoDestination)?;
    if let Some(rewriter) = &mut target.rewriter {
        rewriter.rewrite(now, header, datagram)?;
    }
    if let Some(protection) = &mut target.protection {
        protection.protect_rtp(datagram)?;
    }
    Ok(Forward { channel: Channel::Rtp, destination })
}

fn reports(
    source: &mut Leg,
    target: &mut Leg,
    from: SocketAddr,
    datagram: &mut Vec<u8>,
) -> Result<Forward, Dropped> {
    let known = match source.multiplexed {
        true => source.latch.rtp_destination().is_some_and(|address| same_host(address, from)),
        false => source.latch.accepts_rtcp(from),
    };
    if !known {
        return Err(Dropped::Foreign { from });
    }
    if let Some(protection) = &mut source.protection {
        protection.unprotect_rtcp(datagram)?;
    }
    let mut compound = Compound::parse_reduced_size(datagram)?;
    source.latch.receive_rtcp(from);
    let multiplexed = target.multiplexed;
    let destination = target.latch.rtcp_destination(multiplexed).ok_or(Dropped::NoDestination)?;
    if source.rewriter.is_some() || target.rewriter.is_some() {
        reports::translate(&mut compound, target.rewriter.as_deref(), source.rewriter.as_deref());
        if let Ok(translated) = compound.build() {
            datagram.clear();
            datagram.extend_from_slice(&translated);
        }
    }
    if let Some(protection) = &mut target.protection {
        protection.protect_rtcp(datagram)?;
    }
    Ok(Forward { channel: if multiplexed { Channel::Rtp } else { Channel::Rtcp }, destination })
}
