//! Symmetric RTP with a latch that cannot be hijacked (RFC 4961, and what it leaves open).
//!
//! ```text
//!                     valid packet from the signalled address
//!        +--------------------------------------------------------------+
//!        |                                                              v
//!   +---------+  run of LATCH_RUN packets in sequence from one    +-----------+
//!   |  Open   |  other address, within the window, and nothing    | Signalled |
//!   |         |  from the signalled one meanwhile                 +-----------+
//!   +---------+--------------------------+                              ^
//!        ^                               v       run of LATCH_RUN       |
//!        |                          +---------+  packets in sequence    |
//!        |                          | Learned |--------------------------+
//!        |                          +---------+  from the signalled address
//!        +--- set_remote with another address (signalling) from every state
//! ```
//!
//! 1. Until something arrives, media goes where signalling says.
//! 2. The signalled address is trusted at once and for good: no other source is heard afterwards.
//! 3. Another address (a peer behind a NAT) is learned only while the window after signalling is open and only
//!    by packets in sequence of one source; a sprayer with random numbers never makes such a run.
//! 4. From a learned address there is a way to the signalled one, never to a third.
//! 5. Signalling opens the latch again: a new address always, the same one if its media has stopped, so that a
//!    re-INVITE after a network change works and a refresh changes nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Packets in sequence that a source not signalled must show before it is heard: 80 ms of 20 ms packets.
const LATCH_RUN: u8 = 4;
/// Sources watched at once while open; more is a spray, and the oldest is forgotten.
const MAX_CANDIDATES: usize = 4;
/// Silence after which signalling the same address again opens the latch.
const STALE: Duration = Duration::from_secs(2);

/// Where the peer said that it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Remote {
    /// Address for RTP: `c=` and the port of `m=`.
    pub rtp: SocketAddr,
    /// Address for RTCP: `a=rtcp` (RFC 3605), the next port, or the same as RTP when multiplexed.
    pub rtcp: SocketAddr,
}

impl Remote {
    /// RTP and RTCP on one port (RFC 5761).
    #[must_use]
    pub fn multiplexed(rtp: SocketAddr) -> Self {
        Self { rtp, rtcp: rtp }
    }

    /// RTCP on the port above RTP (RFC 3550 §11).
    #[must_use]
    pub fn port_pair(rtp: SocketAddr) -> Self {
        let mut rtcp = rtp;
        rtcp.set_port(rtp.port().saturating_add(1));
        Self { rtp, rtcp }
    }
}

/// What to do with a packet from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    /// Accepted, and media goes there from now on.
    Latched,
    /// May become the source, not heard yet.
    Candidate,
    Reject,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    address: SocketAddr,
    ssrc: u32,
    sequence: u16,
    run: u8,
}

impl Candidate {
    /// Counts the packet into the run; `true` once the run is long enough.
    fn follow(&mut self, ssrc: u32, sequence: u16) -> bool {
        let continues = self.ssrc == ssrc && sequence == self.sequence.wrapping_add(1);
        self.run = if continues { self.run.saturating_add(1) } else { 1 };
        (self.ssrc, self.sequence) = (ssrc, sequence);
        self.run >= LATCH_RUN
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Signalled,
    Learned(SocketAddr),
}

/// The latch of one session.
#[derive(Clone, Debug)]
pub(crate) struct Latch {
    remote: Option<Remote>,
    state: State,
    opened: Instant,
    last_accepted: Option<Instant>,
    candidates: Vec<Candidate>,
    rtcp: Option<SocketAddr>,
    /// `None`: only signalled addresses are ever heard.
    window: Option<Duration>,
    /// Signalling says nothing: what is learned is where media goes.
    learning: bool,
}

impl Latch {
    pub(crate) fn new(now: Instant, window: Option<Duration>) -> Self {
        Self {
            remote: None,
            state: State::Open,
            opened: now,
            last_accepted: None,
            candidates: Vec::new(),
            rtcp: None,
            window,
            learning: false,
        }
    }

    /// For a party that signalling does not place: the first packets in sequence do.
    pub(crate) fn learning(now: Instant) -> Self {
        Self { learning: true, ..Self::new(now, Some(Duration::MAX)) }
    }

    /// How long an address may be learned.
    pub(crate) fn set_window(&mut self, window: Option<Duration>) {
        self.window = window;
    }

    /// Whether nothing from there can be heard in the present state.
    pub(crate) fn is_locked_against(&self, from: SocketAddr) -> bool {
        let from = canonical(from);
        let signalled = self.remote.is_some_and(|remote| remote.rtp == from);
        match self.state {
            State::Open => false,
            State::Signalled => !signalled,
            State::Learned(address) => address != from && !signalled,
        }
    }

    /// `true` if the latch is open again.
    pub(crate) fn set_remote(&mut self, now: Instant, remote: Remote) -> bool {
        let remote = Remote { rtp: canonical(remote.rtp), rtcp: canonical(remote.rtcp) };
        let stale = self.last_accepted.is_none_or(|at| now.saturating_duration_since(at) > STALE);
        if self.remote == Some(remote) && !stale {
            return false;
        }
        *self = Self { remote: Some(remote), ..Self::new(now, self.window) };
        true
    }

    /// Judges an RTP packet whose header parsed.
    pub(crate) fn receive_rtp(
        &mut self,
        now: Instant,
        from: SocketAddr,
        ssrc: u32,
        sequence: u16,
    ) -> Verdict {
        let from = canonical(from);
        let signalled = self.remote.is_some_and(|remote| remote.rtp == from);
        let state = self.state;
        let verdict = match state {
            State::Signalled if signalled => Verdict::Accept,
            State::Learned(address) if address == from => Verdict::Accept,
            State::Open if signalled => self.lock(State::Signalled),
            State::Learned(_) if signalled && self.follow(from, ssrc, sequence) => {
                self.lock(State::Signalled)
            }
            State::Learned(_) if signalled => Verdict::Candidate,
            State::Open if self.window_is_open(now) => {
                if self.follow(from, ssrc, sequence) {
                    self.lock(State::Learned(from))
                } else {
                    Verdict::Candidate
                }
            }
            _ => Verdict::Reject,
        };
        if matches!(verdict, Verdict::Accept | Verdict::Latched) {
            self.last_accepted = Some(now);
        }
        verdict
    }

    fn window_is_open(&self, now: Instant) -> bool {
        self.window.is_some_and(|window| now.saturating_duration_since(self.opened) <= window)
    }

    fn lock(&mut self, state: State) -> Verdict {
        self.state = state;
        self.candidates.clear();
        self.rtcp = None;
        Verdict::Latched
    }

    fn follow(&mut self, address: SocketAddr, ssrc: u32, sequence: u16) -> bool {
        if let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.address == address) {
            return candidate.follow(ssrc, sequence);
        }
        if self.candidates.len() == MAX_CANDIDATES {
            self.candidates.remove(0);
        }
        self.candidates.push(Candidate { address, ssrc, sequence, run: 1 });
        false
    }

    /// Whether RTCP from there is heard: the signalled RTCP address, or the host that media comes from.
    pub(crate) fn accepts_rtcp(&self, from: SocketAddr) -> bool {
        let from = canonical(from);
        match (self.rtcp, self.state) {
            (Some(locked), _) if locked == from => true,
            // A NAT may give RTCP any port; the host must be the one that media proved.
            (None, State::Learned(address)) => address.ip() == from.ip(),
            (None, _) => self.remote.is_some_and(|remote| remote.rtcp.ip() == from.ip()),
            _ => self.remote.is_some_and(|remote| remote.rtcp == from),
        }
    }

    /// A valid compound came from there: RTCP goes there from now on.
    pub(crate) fn receive_rtcp(&mut self, from: SocketAddr) {
        if self.state != State::Open {
            self.rtcp = Some(canonical(from));
        }
    }

    pub(crate) fn rtp_destination(&self) -> Option<SocketAddr> {
        match self.state {
            State::Learned(address) if self.remote.is_some() || self.learning => Some(address),
            _ => self.remote.map(|remote| remote.rtp),
        }
    }

    pub(crate) fn rtcp_destination(&self, multiplexed: bool) -> Option<SocketAddr> {
        if multiplexed {
            return self.rtp_destination();
        }
        let Some(remote) = self.remote else {
            let learned = self.rtp_destination().map(|rtp| Remote::port_pair(rtp).rtcp);
            return self.rtcp.or(learned);
        };
        Some(self.rtcp.unwrap_or(match self.state {
            // The NAT keeps the host; the port is a guess until RTCP is heard.
            State::Learned(address) => SocketAddr::new(address.ip(), remote.rtcp.port()),
            _ => remote.rtcp,
        }))
    }
}

/// IPv4 inside IPv6 sockets compares equal to plain IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn latch(now: Instant) -> Latch {
        let mut latch = Latch::new(now, Some(Duration::from_secs(30)));
        latch.set_remote(now, Remote::port_pair(address("10.0.0.1:4000")));
        latch
    }

    #[test]
    fn the_signalled_address_is_heard_at_once_and_locks_everybody_else_out() {
        let now = Instant::now();
        let mut latch = latch(now);
        assert_eq!(latch.receive_rtp(now, address("10.0.0.1:4000"), 1, 1), Verdict::Latched);
        for sequence in 0..100 {
            assert_eq!(latch.receive_rtp(now, address("10.0.0.9:4000"), 1, sequence), Verdict::Reject);
            assert_eq!(latch.receive_rtp(now, address("10.0.0.1:4002"), 1, sequence), Verdict::Reject);
        }
        assert_eq!(latch.rtp_destination(), Some(address("10.0.0.1:4000")));
        assert!(!latch.accepts_rtcp(address("10.0.0.9:4001")));
    }

    #[test]
    fn behind_a_nat_a_run_in_sequence_is_learned_and_media_goes_there() {
        let now = Instant::now();
        let mut latch = latch(now);
        let nat = address("192.0.2.7:61000");
        for sequence in 0..3 {
            assert_eq!(latch.receive_rtp(now, nat, 1, sequence), Verdict::Candidate);
        }
        assert_eq!(latch.rtp_destination(), Some(address("10.0.0.1:4000")));
        assert_eq!(latch.receive_rtp(now, nat, 1, 3), Verdict::Latched);
        assert_eq!(latch.rtp_destination(), Some(nat));
        assert_eq!(latch.rtcp_destination(false), Some(address("192.0.2.7:4001")));
        assert!(latch.accepts_rtcp(address("192.0.2.7:61001")));
        latch.receive_rtcp(address("192.0.2.7:61001"));
        assert_eq!(latch.rtcp_destination(false), Some(address("192.0.2.7:61001")));
        assert!(!latch.accepts_rtcp(address("192.0.2.7:61009")));
    }

    #[test]
    fn a_spray_of_random_numbers_is_never_learned() {
        let now = Instant::now();
        let mut latch = latch(now);
        for sequence in (0..60_000u16).step_by(7) {
            assert_eq!(latch.receive_rtp(now, address("10.0.0.9:4000"), 1, sequence), Verdict::Candidate);
        }
        assert_eq!(latch.receive_rtp(now, address("10.0.0.1:4000"), 2, 500), Verdict::Latched);
    }

    #[test]
    fn a_learned_thief_loses_to_the_signalled_address_and_never_to_a_third() {
        let now = Instant::now();
        let mut latch = latch(now);
        for sequence in 0..4 {
            latch.receive_rtp(now, address("10.0.0.9:4000"), 1, sequence);
        }
        for sequence in 0..50 {
            assert_eq!(latch.receive_rtp(now, address("10.0.0.8:4000"), 1, sequence), Verdict::Reject);
        }
        for sequence in 0..3 {
            assert_eq!(latch.receive_rtp(now, address("10.0.0.1:4000"), 2, sequence), Verdict::Candidate);
        }
        assert_eq!(latch.receive_rtp(now, address("10.0.0.1:4000"), 2, 3), Verdict::Latched);
        assert_eq!(latch.receive_rtp(now, address("10.0.0.9:4000"), 1, 4), Verdict::Reject);
    }

    #[test]
    fn the_window_closes() {
        let now = Instant::now();
        let mut latch = latch(now);
        let late = now + Duration::from_secs(31);
        for sequence in 0..10 {
            assert_eq!(latch.receive_rtp(late, address("10.0.0.9:4000"), 1, sequence), Verdict::Reject);
        }
        assert_eq!(latch.receive_rtp(late, address("10.0.0.1:4000"), 1, 1), Verdict::Latched);
    }

    #[test]
    fn signalling_the_same_address_changes_nothing_while_media_flows_and_reopens_when_it_stopped() {
        let now = Instant::now();
        let mut latch = latch(now);
        let remote = Remote::port_pair(address("10.0.0.1:4000"));
        latch.receive_rtp(now, address("10.0.0.1:4000"), 1, 1);
        assert!(!latch.set_remote(now + Duration::from_secs(1), remote));
        assert!(latch.set_remote(now + Duration::from_secs(3), remote));
        assert!(latch.set_remote(now, Remote::port_pair(address("10.0.0.2:4000"))));
        assert_eq!(latch.receive_rtp(now, address("10.0.0.1:4000"), 1, 2), Verdict::Candidate);
    }

    #[test]
    fn ipv4_in_ipv6_is_the_same_address() {
        let now = Instant::now();
        let mut latch = latch(now);
        assert_eq!(latch.receive_rtp(now, address("[::ffff:10.0.0.1]:4000"), 1, 1), Verdict::Latched);
    }
}
