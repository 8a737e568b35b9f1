//! The task of a video stream: datagrams in and out, whenever one is due.

use std::sync::Arc;
use std::time::Instant;

use rtp::session::{Channel, Transmit};
use tokio::time::sleep_until;

use super::VideoMedia;
use crate::media::wire::Wire;
use crate::media::{MediaPort, MediaTap};

/// The largest datagram worth reading: peers that do not cut frames up send what IP has room for.
const DATAGRAM: usize = 65_536;

pub(super) async fn run(media: Arc<VideoMedia>, port: MediaPort, tap: Option<MediaTap>) {
    let mut wire = Wire { port, tap };
    let mut buffer = vec![0; DATAGRAM];
    let mut outgoing: Vec<Transmit> = Vec::new();
    loop {
        let (due, agreed) = {
            let state = media.state();
            (state.stream.poll_timeout().filter(|_| state.agreed), state.agreed)
        };
        // What comes before the answer does waits in the socket: it begins with the key frame.
        tokio::select! {
            _ = wire.port.rtp.readable(), if agreed => receive(&media, &wire, Channel::Rtp, &mut buffer),
            _ = wire.port.rtcp.readable(), if agreed => receive(&media, &wire, Channel::Rtcp, &mut buffer),
            () = async { sleep_until(due.unwrap_or_else(Instant::now).into()).await }, if due.is_some() => {}
            () = media.wake.notified() => {}
        }
        let now = Instant::now();
        let mut state = media.state();
        if let Some(fresh) = state.fresh.take() {
            wire.port = fresh;
        }
        state.stream.handle_timeout(now);
        if state.closing {
            state.stream.close(now, None);
        }
        while let Some(transmit) = state.stream.poll_transmit(now) {
            outgoing.push(transmit);
        }
        if !state.agreed {
            outgoing.clear(); // the peer has closed its ports
        }
        let (closing, news) = (state.closing, state.stream.has_events() || !outgoing.is_empty());
        drop(state);
        wire.send(&mut outgoing);
        if news || closing {
            media.changed.notify_waiters();
        }
        if closing {
            return;
        }
    }
}

fn receive(media: &VideoMedia, wire: &Wire, channel: Channel, buffer: &mut [u8]) {
    wire.receive(channel, buffer, |from, datagram| {
        media.state().stream.receive(Instant::now(), channel, from, datagram)
    });
}
