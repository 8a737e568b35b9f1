//! Any datagrams into the RTCP parser and a session that has sent media.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use rtp::ntp::NtpTimestamp;
use rtp::rtcp::Compound;
use rtp::session::{Config, Remote, Session};

fuzz_target!(|data: &[u8]| {
    if let Ok(compound) = Compound::parse(data) {
        // Lossy conversions (a BYE reason that is no UTF-8) may outgrow a field; what is written must parse.
        if let Ok(built) = compound.build() {
            let again = Compound::parse(&built).expect("what was written parses");
            assert_eq!(again.0.len(), compound.0.len());
        }
    }
    if let Ok(compound) = Compound::parse_reduced_size(data)
        && let Ok(built) = compound.build()
    {
        assert!(Compound::parse_reduced_size(&built).is_ok(), "what was written parses");
    }
    let Ok(from) = "192.0.2.1:4000".parse::<std::net::SocketAddr>() else { return };
    let mut now = Instant::now();
    let mut config = Config::new([1; 32], "fuzz@example.com", NtpTimestamp(1 << 40));
    config.reduced_size = data.len() % 2 == 0;
    config.extended_reports = rtp::rtcp::extended::Wanted::ALL;
    let mut session = Session::new(now, config);
    let remote = Remote::port_pair(from);
    session.set_remote(now, remote);
    let mut rest = data;
    while let [length, tenths, after @ ..] = rest {
        let (datagram, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        now += Duration::from_millis(u64::from(*tenths) * 100);
        let _ = session.send(now, 0, false, &[0; 160], 160);
        let _ = session.receive_rtcp(now, remote.rtcp, datagram);
        session.handle_timeout(now);
        while session.poll_transmit().is_some() || session.poll_event().is_some() {}
    }
    session.close(now, None);
    let _ = session.statistics();
});
