//! Datagrams of a stream in and out, and what is told of them.

use std::net::SocketAddr;
use std::time::SystemTime;

use rtp::session::{Channel, Discard, Transmit};

use super::{MediaPacket, MediaPort, MediaTap};

/// Datagrams taken in one go before the clock is looked at again.
const BATCH: usize = 32;

/// The sockets of a stream and whoever watches them.
pub(super) struct Wire {
    pub(super) port: MediaPort,
    pub(super) tap: Option<MediaTap>,
}

impl Wire {
    fn socket(&self, channel: Channel) -> &tokio::net::UdpSocket {
        match channel {
            Channel::Rtp => &self.port.rtp,
            Channel::Rtcp => &self.port.rtcp,
        }
    }

    fn tell(&self, channel: Channel, inbound: bool, remote: SocketAddr, payload: &[u8]) {
        if let Some(tap) = &self.tap
            && let Ok(local) = self.socket(channel).local_addr()
        {
            tap(&MediaPacket { at: SystemTime::now(), inbound, local, remote, payload });
        }
    }

    /// Media is late or never: what the kernel does not take now is dropped.
    pub(super) fn send(&self, outgoing: &mut Vec<Transmit>) {
        for Transmit { channel, destination, payload } in outgoing.drain(..) {
            match self.socket(channel).try_send_to(&payload, destination) {
                Ok(_) => self.tell(channel, false, destination, &payload),
                Err(error) => tracing::trace!(%error, %destination, "a media packet was not sent"),
            }
        }
    }

    /// Gives what has come to `take`, as much as is looked at in one go.
    pub(super) fn receive(
        &self,
        channel: Channel,
        buffer: &mut [u8],
        mut take: impl FnMut(SocketAddr, &[u8]) -> Result<(), Discard>,
    ) {
        for _ in 0..BATCH {
            // Errors here are ICMP's word on what we sent before; the next read goes on.
            let Ok((length, from)) = self.socket(channel).try_recv_from(buffer) else { return };
            let datagram = buffer.get(..length).unwrap_or_default();
            self.tell(channel, true, from, datagram);
            if let Err(discard) = take(from, datagram) {
                tracing::trace!(?discard, %from, "a media packet was discarded");
            }
        }
    }
}
