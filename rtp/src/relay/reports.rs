//! Reports and feedback of a party in the terms of the other one (RFC 3550 §7.2).

use super::rewrite::Rewriter;
use crate::rtcp::extended::Block;
use crate::rtcp::feedback::Message;
use crate::rtcp::{Compound, Packet, ReportBlock};

/// `forth` rewrites the stream of who speaks, `back` the stream that it hears and reports on.
pub(super) fn translate(compound: &mut Compound, forth: Option<&Rewriter>, back: Option<&Rewriter>) {
    let speaker = |ssrc: &mut u32| *ssrc = forth.map_or(*ssrc, Rewriter::ssrc);
    let heard = |ssrc: &mut u32| *ssrc = back.map_or(*ssrc, |back| back.original_ssrc(*ssrc));
    let back_by = back.map_or(0, |back| back.offsets().0);
    let blocks = |reports: &mut Vec<ReportBlock>| {
        for block in reports {
            heard(&mut block.ssrc);
            let number = block.extended_highest_sequence;
            block.extended_highest_sequence = number.wrapping_sub(u32::from(back_by));
        }
    };
    for packet in &mut compound.0 {
        match packet {
            Packet::SenderReport(report) => {
                speaker(&mut report.ssrc);
                let by = forth.map_or(0, |forth| forth.offsets().1);
                report.rtp_timestamp = report.rtp_timestamp.wrapping_add(by);
                blocks(&mut report.reports);
            }
            Packet::ReceiverReport(report) => {
                speaker(&mut report.ssrc);
                blocks(&mut report.reports);
            }
            Packet::SourceDescription(chunks) => chunks.iter_mut().for_each(|chunk| speaker(&mut chunk.ssrc)),
            Packet::Bye(bye) => bye.ssrcs.iter_mut().for_each(speaker),
            Packet::Application(application) => speaker(&mut application.ssrc),
            Packet::Feedback(feedback) => {
                speaker(&mut feedback.sender);
                heard(&mut feedback.media);
                message(&mut feedback.message, back_by, heard);
            }
            Packet::ExtendedReport(report) => {
                speaker(&mut report.ssrc);
                report.blocks.iter_mut().for_each(|part| block(part, back_by, heard));
            }
            Packet::Unknown(_) => {}
        }
    }
}

fn message(message: &mut Message, back_by: u16, heard: impl Fn(&mut u32)) {
    match message {
        Message::Nack(entries) => {
            for entry in entries {
                entry.packet_id = entry.packet_id.wrapping_sub(back_by);
            }
        }
        Message::FullIntraRequest(entries) => entries.iter_mut().for_each(|entry| heard(&mut entry.ssrc)),
        Message::MaximumBitRateRequest(entries) | Message::MaximumBitRateNotification(entries) => {
            entries.iter_mut().for_each(|entry| heard(&mut entry.ssrc));
        }
        Message::EstimatedMaximumBitRate { sources, .. } => sources.iter_mut().for_each(heard),
        Message::PictureLossIndication | Message::Other { .. } => {}
    }
}

fn block(block: &mut Block, back_by: u16, heard: impl Fn(&mut u32)) {
    match block {
        Block::Loss(runs) | Block::Duplicates(runs) => {
            heard(&mut runs.ssrc);
            runs.begin = runs.begin.wrapping_sub(back_by);
            runs.end = runs.end.wrapping_sub(back_by);
        }
        Block::DelaySinceLastReceiverReport(answers) => {
            answers.iter_mut().for_each(|answer| heard(&mut answer.ssrc));
        }
        Block::VoipMetrics(metrics) => heard(&mut metrics.ssrc),
        Block::ReceiverReferenceTime(_) | Block::StatisticsSummary { .. } | Block::Unknown { .. } => {}
    }
}
