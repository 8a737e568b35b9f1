//! SRTP around a stream: what is sent is protected last, what comes is verified first (RFC 3711 §3.3).

use crate::demux::{self, Protocol};
use crate::session::Transmit;
use crate::srtp::{Error, Receiver, Sender};

/// The keys of both directions; without one the direction is plain.
#[derive(Default)]
pub(crate) struct Protection {
    pub(crate) sender: Option<Box<Sender>>,
    pub(crate) receiver: Option<Box<Receiver>>,
    /// Memory for a packet, used again for each.
    packet: Vec<u8>,
}

impl std::fmt::Debug for Protection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let directions = (self.sender.is_some(), self.receiver.is_some());
        formatter.debug_tuple("Protection").field(&directions).finish()
    }
}

impl Protection {
    /// Verifies and decrypts, in memory that [`Protection::give_back`] gets again. `None` where media is plain.
    pub(crate) fn open(&mut self, datagram: &[u8]) -> Option<Result<Vec<u8>, Error>> {
        let receiver = self.receiver.as_mut()?;
        let mut packet = std::mem::take(&mut self.packet);
        packet.clear();
        packet.extend_from_slice(datagram);
        // The header is in the clear, so RTP and RTCP are known apart (RFC 5761 §4).
        let opened = match demux::classify(datagram) {
            Protocol::Rtcp => receiver.unprotect_rtcp(&mut packet),
            _ => receiver.unprotect_rtp(&mut packet),
        };
        Some(match opened {
            Ok(()) => Ok(packet),
            Err(error) => {
                self.packet = packet;
                Err(error)
            }
        })
    }

    pub(crate) fn give_back(&mut self, packet: Vec<u8>) {
        self.packet = packet;
    }

    /// Encrypts and tags. `None` if the key may protect no more: nothing goes out then.
    pub(crate) fn seal(&mut self, transmit: Transmit) -> Option<Transmit> {
        let Some(sender) = &mut self.sender else { return Some(transmit) };
        let mut packet = Vec::with_capacity(transmit.payload.len() + 32); // tag and index
        packet.extend_from_slice(&transmit.payload);
        let sealed = match demux::classify(&packet) {
            Protocol::Rtcp => sender.protect_rtcp(&mut packet),
            _ => sender.protect_rtp(&mut packet),
        };
        sealed.ok().map(|()| Transmit { payload: packet.into(), ..transmit })
    }
}
