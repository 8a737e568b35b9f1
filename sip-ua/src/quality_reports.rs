//! Reports of quality, one at the end of each call, to a collector (RFC 6035 §4.1, §4.3).

use std::time::SystemTime;

use sip_dialog::{CallKey, Dialog, DialogId, KeyMap, RequestKey};
use sip_message::Uri;
use sip_message::headers::NameAddr;

use crate::media::MediaReport;
use crate::quality::{ReportedCall, quality_report};

/// The event package of the reports (RFC 6035 §4.2).
pub(crate) const PACKAGE: &str = "vq-rtcpxr";
/// Reports that wait for their answer; what ends beyond that goes unreported. A collector that is silent must not fill the memory.
const MAX_UNDERWAY: usize = 1024;

/// Who a call stands between, while it does.
#[derive(Debug)]
struct Parties {
    dialog: DialogId,
    outgoing: bool,
    local: String,
    remote: String,
}

/// What is reported, to whom, and what waits for an answer.
#[derive(Debug)]
pub(crate) struct QualityReports {
    pub(crate) collector: Uri,
    calls: KeyMap<CallKey, Box<Parties>>,
    underway: KeyMap<RequestKey, ()>,
}

impl QualityReports {
    pub(crate) fn to(collector: Uri) -> Self {
        Self { collector, calls: KeyMap::default(), underway: KeyMap::default() }
    }

    /// A call was answered.
    pub(crate) fn begins(&mut self, call: CallKey, dialog: &Dialog, outgoing: bool) {
        let named = |address: &NameAddr| {
            let name = address.display_name().unwrap_or_default();
            NameAddr::new(address.uri()).with_display_name(name).to_string()
        };
        let parties = Parties {
            dialog: dialog.id().clone(),
            outgoing,
            local: named(dialog.local()),
            remote: named(dialog.remote()),
        };
        self.calls.insert(call, Box::new(parties));
    }

    /// A call is over: its report, if it stood and had media of which there is something to say.
    pub(crate) fn ends(
        &mut self,
        call: CallKey,
        media: Option<MediaReport>,
        now: SystemTime,
    ) -> Option<sip_dialog::Body> {
        let parties = self.calls.remove(&call)?;
        let media = media?;
        if self.underway.len() >= MAX_UNDERWAY {
            tracing::warn!(collector = %self.collector, "too many reports of quality wait: this call goes unreported");
            return None;
        }
        let reported = ReportedCall {
            dialog: &parties.dialog,
            outgoing: parties.outgoing,
            local: &parties.local,
            remote: &parties.remote,
            local_media: media.local,
            remote_media: media.remote,
            began: media.began,
            ended: now,
            last: true,
            format: &media.format,
            heard_by_peer: media.heard_by_peer.as_deref(),
        };
        Some(quality_report(&media.statistics, &reported).to_body())
    }

    /// A report is on its way.
    pub(crate) fn sent(&mut self, request: RequestKey) {
        self.underway.insert(request, ());
    }

    /// A request was answered; `true` if it brought a report.
    pub(crate) fn answered(&mut self, request: RequestKey) -> bool {
        self.underway.remove(&request).is_some()
    }

    /// Whether every report has its answer.
    pub(crate) fn all_answered(&self) -> bool {
        self.underway.is_empty()
    }
}
