use super::*;
use proptest::prelude::*;

fn empty_report() -> Packet {
    Packet::ReceiverReport(ReceiverReport { ssrc: 1, reports: vec![] })
}

#[test]
fn rfc3550_a2_header_validity() {
    let good = Compound(vec![empty_report()]).build().unwrap();
    assert!(Compound::parse(&good).is_ok());
    assert!(matches!(Compound::parse(&[]), Err(RtcpError::Truncated { offset: 0, .. })));
    assert!(matches!(Compound::parse(&good[..7]), Err(RtcpError::Truncated { expected: 8, .. })));
    let mut second_wrong = [good.clone(), good.clone()].concat();
    second_wrong[8] = 0x40;
    assert_eq!(Compound::parse(&second_wrong), Err(RtcpError::Version { offset: 8, version: 1 }));
    let bye = Compound(vec![Packet::Bye(Bye { ssrcs: vec![1], reason: None })]).build().unwrap();
    assert_eq!(Compound::parse(&bye), Err(RtcpError::NoReportFirst { packet_type: 203 }));
    let mut padded_first = [good.clone(), good].concat();
    padded_first[0] |= 0x20;
    assert_eq!(Compound::parse(&padded_first), Err(RtcpError::Padding { offset: 0 }));
}

#[test]
fn rfc3550_6_4_1_padding_of_the_last_packet_is_left_out() {
    let mut octets = Compound(vec![empty_report()]).build().unwrap().to_vec();
    octets.extend([0xa0, 204, 0, 3, 0, 0, 0, 9, b'n', b'a', b'm', b'e', 0, 0, 0, 4]);
    let Compound(packets) = Compound::parse(&octets).unwrap();
    let application = Application { subtype: 0, ssrc: 9, name: *b"name", data: Bytes::new() };
    assert_eq!(packets[1], Packet::Application(application));
    *octets.last_mut().unwrap() = 3;
    assert_eq!(Compound::parse(&octets), Err(RtcpError::Padding { offset: 8 }));
}

#[test]
fn rfc3550_6_5_a_second_chunk_whose_ssrc_starts_with_zeros_is_read() {
    let chunks =
        vec![SourceDescription::with_cname(5, "a@b"), SourceDescription::with_cname(0x00_00_12_34, "c")];
    let compound = Compound(vec![empty_report(), Packet::SourceDescription(chunks)]);
    assert_eq!(Compound::parse(&compound.build().unwrap()).unwrap(), compound);
}

#[test]
fn rfc3550_6_5_8_private_item_with_a_lying_prefix_length_is_harmless() {
    let mut octets = Compound(vec![empty_report()]).build().unwrap().to_vec();
    octets.extend([0x81, 202, 0, 3, 0, 0, 0, 9, 8, 2, 200, 1, 1, 1, b'x', 0]);
    assert!(Compound::parse(&octets).is_ok());
}

#[test]
fn rfc3550_6_4_1_negative_cumulative_loss_survives() {
    let block = ReportBlock { ssrc: 9, cumulative_lost: -3, ..ReportBlock::default() };
    let compound = Compound(vec![Packet::ReceiverReport(ReceiverReport { ssrc: 1, reports: vec![block] })]);
    assert_eq!(Compound::parse(&compound.build().unwrap()).unwrap(), compound);
}

#[test]
fn rfc5506_3_feedback_may_come_alone_where_that_was_agreed() {
    let feedback = Feedback { sender: 1, media: 2, message: feedback::Message::PictureLossIndication };
    let alone = Compound(vec![Packet::Feedback(feedback)]);
    let octets = alone.build().unwrap();
    assert_eq!(Compound::parse(&octets), Err(RtcpError::NoReportFirst { packet_type: 206 }));
    assert_eq!(Compound::parse_reduced_size(&octets), Ok(alone));
}

#[test]
fn what_is_cut_off_inside_a_packet_is_refused() {
    for (packet_type, words) in [(204, 1), (205, 1), (206, 0), (207, 0)] {
        let mut octets = vec![0x80, packet_type, 0, words];
        octets.resize(4 + 4 * usize::from(words), 0);
        assert_eq!(Compound::parse_reduced_size(&octets), Err(RtcpError::CutOff { offset: 0, packet_type }),);
    }
}

#[test]
fn a_flood_of_empty_packets_is_refused() {
    let mut octets = Compound(vec![empty_report()]).build().unwrap().to_vec();
    for _ in 0..MAX_PACKETS {
        octets.extend([0x80, 210, 0, 0]);
    }
    assert_eq!(Compound::parse(&octets), Err(RtcpError::TooManyPackets));
}

fn blocks() -> impl Strategy<Value = Vec<ReportBlock>> {
    let block =
        (any::<(u32, u8, u32, u32, u32, u32)>(), -0x80_0000i32..0x80_0000).prop_map(|(fields, lost)| {
            ReportBlock {
                ssrc: fields.0,
                fraction_lost: fields.1,
                cumulative_lost: lost,
                extended_highest_sequence: fields.2,
                jitter: fields.3,
                last_sender_report: fields.4,
                delay_since_last_sender_report: fields.5,
            }
        });
    proptest::collection::vec(block, 0..4)
}

fn report() -> impl Strategy<Value = Packet> {
    prop_oneof![
        (any::<(u32, u64, u32, u32, u32)>(), blocks()).prop_map(|(fields, reports)| {
            Packet::SenderReport(SenderReport {
                ssrc: fields.0,
                ntp: NtpTimestamp(fields.1),
                rtp_timestamp: fields.2,
                packet_count: fields.3,
                octet_count: fields.4,
                reports,
            })
        }),
        (any::<u32>(), blocks())
            .prop_map(|(ssrc, reports)| Packet::ReceiverReport(ReceiverReport { ssrc, reports })),
    ]
}

fn other() -> impl Strategy<Value = Packet> {
    let value = || proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    let chunk = (any::<u32>(), proptest::collection::vec((1u8..=255, value()), 0..4))
        .prop_map(|(ssrc, items)| SourceDescription { ssrc, items });
    prop_oneof![
        proptest::collection::vec(chunk, 0..4).prop_map(Packet::SourceDescription),
        (proptest::collection::vec(any::<u32>(), 0..4), proptest::option::of("[a-z ]{1,20}"))
            .prop_map(|(ssrcs, reason)| Packet::Bye(Bye { ssrcs, reason })),
        (any::<(u32, [u8; 4])>(), 0u8..32, proptest::collection::vec(any::<[u8; 4]>(), 0..4)).prop_map(
            |((ssrc, name), subtype, words)| {
                Packet::Application(Application { subtype, ssrc, name, data: Bytes::from(words.concat()) })
            }
        ),
        (any::<(u32, u32)>(), 0u16..100).prop_map(|((sender, media), first)| {
            let message = feedback::Message::Nack(feedback::Nack::pack(first..first + 30));
            Packet::Feedback(Feedback { sender, media, message })
        }),
        (any::<u32>(), any::<u64>()).prop_map(|(ssrc, time)| {
            let blocks = vec![extended::Block::ReceiverReferenceTime(NtpTimestamp(time))];
            Packet::ExtendedReport(ExtendedReport { ssrc, blocks })
        }),
        (208u8..=255, 0u8..32, proptest::collection::vec(any::<[u8; 4]>(), 0..6)).prop_map(
            |(packet_type, count, words)| {
                Packet::Unknown(Unknown { packet_type, count, body: Bytes::from(words.concat()) })
            }
        ),
    ]
}

proptest! {
    #[test]
    fn round_trip(first in report(), rest in proptest::collection::vec(prop_oneof![report(), other()], 0..5)) {
        let compound = Compound(std::iter::once(first).chain(rest).collect());
        prop_assert_eq!(Compound::parse(&compound.build().unwrap()).unwrap(), compound);
    }

    #[test]
    fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Compound::parse(&octets);
    }

    #[test]
    fn damaged_compounds_never_panic(first in report(), second in other(), at in any::<prop::sample::Index>(), value: u8) {
        let mut octets = Compound(vec![first, second]).build().unwrap().to_vec();
        let at = at.index(octets.len());
        octets[at] = value;
        let _ = Compound::parse(&octets);
    }
}
