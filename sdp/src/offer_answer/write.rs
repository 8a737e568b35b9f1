//! The descriptions that we print, straight as text: nobody looks at their data model, unless asked for.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sdp_types::{Setup, Time};

use super::Origin;
use super::header_extension::{ENCRYPTED, SaidExtension};
use super::layers::{AgreedLayers, Encoding};
use super::line::Line;
use super::local::LocalStream;
use super::negotiated::Feedback;
use crate::description::Written;
use crate::print::Out;
use crate::sdes::SrtpKey;
use crate::{Direction, Payload};

/// What we say in the line of a stream in use.
pub(super) struct Said<'a> {
    /// Whose options are written as they are.
    pub(super) local: &'a LocalStream,
    pub(super) address: SocketAddr,
    /// Port 0 until the group is accepted (RFC 9143 §6).
    pub(super) bundle_only: bool,
    pub(super) protocol: Cow<'a, str>,
    pub(super) payloads: Vec<Payload>,
    /// Instead of payloads, for what is not RTP.
    pub(super) formats: Vec<String>,
    pub(super) direction: Direction,
    pub(super) crypto: Vec<(u32, SrtpKey)>,
    pub(super) rtcp_mux: bool,
    pub(super) rtcp_mux_only: bool,
    pub(super) mid: Option<Box<str>>,
    pub(super) feedback: Vec<Feedback>,
    pub(super) extensions: Vec<SaidExtension<'a>>,
    /// Headers of both forms in one stream.
    pub(super) mixed: bool,
    /// In our payload types.
    pub(super) layers: Option<Box<AgreedLayers>>,
    pub(super) setup: Option<Setup>,
}

/// One line and what is below it.
pub(super) enum Section<'a> {
    /// Port 0, the rest as it was, since at least one format must stay (RFC 3264 §6).
    Disabled(Line),
    InUse(Box<Said<'a>>),
}

/// All but the version, which is known last.
pub(super) struct Description<'a> {
    pub(super) address: IpAddr,
    pub(super) times: &'a [Time],
    /// The names in each group, and what makes them one.
    pub(super) groups: Vec<(&'static str, Vec<Box<str>>)>,
    pub(super) sections: Vec<Section<'a>>,
}

impl Said<'_> {
    fn formats(&self) -> String {
        let mut out = Out::default();
        for (index, payload) in self.payloads.iter().enumerate() {
            if index > 0 {
                out.raw(" ");
            }
            out.number(payload.payload_type.into());
        }
        let mut text = out.into_text();
        for format in &self.formats {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(format);
        }
        text
    }

    fn write(&self, out: &mut Out, session_address: IpAddr) {
        out.raw("m=");
        out.raw(self.local.kind.as_str());
        out.raw(" ");
        out.number(if self.bundle_only { 0 } else { self.address.port().into() });
        out.raw(" ");
        out.raw(&self.protocol);
        for payload in &self.payloads {
            out.raw(" ");
            out.number(payload.payload_type.into());
        }
        for format in &self.formats {
            out.raw(" ");
            out.text(format);
        }
        out.end();
        if self.address.ip() != session_address {
            out.connection_of(self.address.ip());
        }
        for Payload { payload_type, codec } in &self.payloads {
            out.raw("a=rtpmap:");
            out.number((*payload_type).into());
            out.raw(" ");
            out.text(codec.name());
            out.raw("/");
            out.number(codec.clock_rate().into());
            if codec.channels() > 1 {
                out.raw("/");
                out.number(codec.channels().into());
            }
            out.end();
            if let Some(parameters) = codec.fmtp() {
                out.raw("a=fmtp:");
                out.number((*payload_type).into());
                out.raw(" ");
                out.text(parameters);
                out.end();
            }
        }
        if let Some(ptime) = self.local.ptime {
            out.raw("a=ptime:");
            out.number(ptime.into());
            out.end();
        }
        let more = self.local.options();
        if let Some(port) = more.rtcp_port.filter(|port| Some(*port) != self.address.port().checked_add(1)) {
            out.raw("a=rtcp:");
            out.number(port.into());
            out.end();
        }
        if let Some(mid) = &self.mid {
            out.line("a=mid:", &[mid]);
        }
        if self.bundle_only {
            out.line("a=bundle-only", &[]);
        }
        if self.rtcp_mux {
            out.line("a=rtcp-mux", &[]);
        }
        if self.rtcp_mux_only {
            out.line("a=rtcp-mux-only", &[]);
        }
        for (tag, key) in &self.crypto {
            out.crypto(*tag, key);
        }
        for Feedback { payload_type, message } in &self.feedback {
            out.raw("a=rtcp-fb:");
            match payload_type {
                Some(number) => out.number((*number).into()),
                None => out.raw("*"),
            }
            out.raw(" ");
            out.text(message);
            out.end();
        }
        if self.mixed {
            out.line("a=extmap-allow-mixed", &[]);
        }
        for SaidExtension { id, encrypted, uri, attributes, direction } in &self.extensions {
            out.raw("a=extmap:");
            out.number((*id).into());
            if *direction != Direction::SendRecv {
                out.raw("/");
                out.raw(direction.as_str());
            }
            out.raw(" ");
            if *encrypted {
                out.raw(ENCRYPTED);
                out.raw(" ");
            }
            out.text(uri);
            if let Some(attributes) = attributes {
                out.raw(" ");
                out.text(attributes);
            }
            out.end();
        }
        if let Some(layers) = &self.layers {
            write_layers(layers, out);
        }
        for attribute in &more.attributes {
            match self.setup.as_ref().filter(|_| attribute.attribute == "setup") {
                Some(setup) => out.line("a=setup:", &[&setup.to_string()]),
                None => out.attribute(attribute),
            }
        }
        out.line("a=", &[self.direction.as_str()]);
    }
}

/// `a=rid` for each encoding (RFC 8851 §4), and `a=simulcast` (RFC 8853 §5.1).
fn write_layers(layers: &AgreedLayers, out: &mut Out) {
    let both = [("send", &layers.send), ("recv", &layers.receive)];
    for (direction, streams) in both {
        for encoding in streams.iter().flatten() {
            out.raw("a=rid:");
            out.text(&encoding.rid);
            out.raw(" ");
            out.raw(direction);
            let mut separator = " ";
            let mut parameter = |name: &str, value: &str| {
                if !value.is_empty() {
                    out.raw(separator);
                    out.raw(name);
                    out.text(value);
                    separator = ";";
                }
            };
            let Encoding { payload_types, restrictions, depends_on, .. } = encoding;
            let numbers: Vec<String> = payload_types.iter().map(u8::to_string).collect();
            parameter("pt=", &numbers.join(","));
            parameter("", &restrictions.to_string());
            parameter("depend=", &depends_on.join(","));
            out.end();
        }
    }
    out.raw("a=simulcast:");
    let mut before = "";
    for (direction, streams) in both.into_iter().filter(|(_, streams)| !streams.is_empty()) {
        out.raw(before);
        before = " ";
        out.raw(direction);
        let mut separator = " ";
        for stream in streams {
            for encoding in stream {
                out.raw(separator);
                out.raw(if encoding.paused { "~" } else { "" });
                out.text(&encoding.rid);
                separator = ",";
            }
            separator = ";";
        }
    }
    out.end();
}

impl Section<'_> {
    pub(super) fn line(&self) -> Line {
        match self {
            Section::Disabled(line) => line.clone(),
            Section::InUse(said) => {
                let line = Line::new(said.local.kind.as_str(), &said.protocol, &said.formats());
                line.named(said.mid.clone())
            }
        }
    }
}

impl Description<'_> {
    /// The text, with this version in `o=`. `s=-` is RFC 3264 §5's advice for sessions without a name.
    pub(super) fn text(&self, origin: &Origin, version: u64) -> Arc<Written> {
        let mut out = Out::default();
        out.raw("v=0\r\no=");
        out.text(origin.username.as_deref().filter(|name| !name.is_empty()).unwrap_or("-"));
        out.raw(" ");
        out.number(origin.session_id);
        out.raw(" ");
        out.number(version);
        out.raw(" ");
        out.address_of(origin.address);
        out.end();
        out.raw("s=-\r\n");
        out.connection_of(self.address);
        out.times(self.times);
        for (semantics, names) in &self.groups {
            out.raw("a=group:");
            out.raw(semantics);
            for name in names {
                out.raw(" ");
                out.text(name);
            }
            out.end();
        }
        let mut secret = false;
        for section in &self.sections {
            match section {
                Section::InUse(said) => {
                    said.write(&mut out, self.address);
                    secret |= !said.crypto.is_empty();
                }
                Section::Disabled(line) => {
                    out.raw("m=");
                    out.text(line.media());
                    out.raw(" 0 ");
                    out.text(line.protocol());
                    out.raw(" ");
                    out.text(line.formats());
                    out.end();
                    if let Some(mid) = &line.mid {
                        out.line("a=mid:", &[mid]);
                    }
                }
            }
        }
        Written::new(out.into_text(), secret)
    }
}
