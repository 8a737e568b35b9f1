//! VP9 (RFC 9628): the payload descriptor, as far as forwarding and the choice of layers need it.

/// The fields of the payload descriptor (RFC 9628 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// Number of the picture, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// P: decoded from pictures before it.
    pub inter_picture: bool,
    /// B: a layer's frame starts here.
    pub start: bool,
    /// E: a layer's frame ends here.
    pub end: bool,
    /// Temporal layer, switching point, spatial layer, decoded from the layer below it.
    pub layer: Option<Layer>,
    /// V: the structure of the layers follows; it goes with key frames.
    pub structure: bool,
    /// Z: no higher spatial layer is decoded from this one.
    pub not_for_upper_layers: bool,
}

/// Where a frame stands among the layers (RFC 9628 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layer {
    /// TID, 0 to 7.
    pub temporal: u8,
    /// U: one may go up to this temporal layer here.
    pub switching_up: bool,
    /// SID, 0 to 7.
    pub spatial: u8,
    /// D: decoded from the spatial layer below.
    pub inter_layer: bool,
}

/// Reference indices after each other at most (RFC 9628 §4.2: N may be set twice).
const MAX_REFERENCES: usize = 3;

impl Descriptor {
    /// Reads a descriptor and gives what follows it. `None` if it is cut off.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<(Self, &[u8])> {
        let mut rest = payload;
        let mut next = || -> Option<u8> {
            let (&octet, behind) = rest.split_first()?;
            rest = behind;
            Some(octet)
        };
        let first = next()?;
        let flag = |bit: u8| first & bit != 0;
        let (inter_picture, flexible) = (flag(0x40), flag(0x10));
        let picture_id = match flag(0x80) {
            false => None,
            true => {
                let high = next()?;
                Some(if high & 0x80 == 0 { high.into() } else { u16::from_be_bytes([high & 0x7f, next()?]) })
            }
        };
        let layer = match flag(0x20) {
            false => None,
            true => {
                let octet = next()?;
                if !flexible {
                    next()?; // TL0PICIDX
                }
                Some(Layer {
                    temporal: octet >> 5,
                    switching_up: octet & 0x10 != 0,
                    spatial: octet >> 1 & 0x07,
                    inter_layer: octet & 0x01 != 0,
                })
            }
        };
        if flexible && inter_picture {
            for at in 0..=MAX_REFERENCES {
                if at == MAX_REFERENCES {
                    return None;
                }
                if next()? & 0x01 == 0 {
                    break;
                }
            }
        }
        let structure = flag(0x02);
        if structure {
            let header = next()?;
            let layers = usize::from(header >> 5) + 1;
            if header & 0x10 != 0 {
                (0..4 * layers).try_for_each(|_| next().map(drop))?; // width and height of each
            }
            if header & 0x08 != 0 {
                let pictures = next()?;
                for _ in 0..pictures {
                    let references = next()? >> 2 & 0x03;
                    (0..references).try_for_each(|_| next().map(drop))?;
                }
            }
        }
        let descriptor = Self {
            picture_id,
            inter_picture,
            start: flag(0x08),
            end: flag(0x04),
            layer,
            structure,
            not_for_upper_layers: flag(0x01),
        };
        Some((descriptor, rest))
    }
}

/// Whether a payload begins a picture that can be decoded without any before it: the first spatial layer, not predicted from
/// other pictures.
#[must_use]
pub fn is_key_frame(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_some_and(|(descriptor, _)| {
        let lowest = descriptor.layer.is_none_or(|layer| layer.spatial == 0 && !layer.inter_layer);
        descriptor.start && !descriptor.inter_picture && lowest
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc9628_4_2_the_parts_follow_each_other() {
        // I, L, B, E, V; 15 bits of picture id; layers in non-flexible mode; a structure of two layers with sizes and a group.
        let octets = [0xae, 0x81, 0x02, 0x52, 9, 0x38, 0, 64, 0, 48, 0, 128, 0, 96, 2, 0x04, 1, 0x00, 0xaa];
        let (descriptor, rest) = Descriptor::parse(&octets).unwrap();
        assert_eq!((descriptor.picture_id, rest), (Some(0x102), &[0xaa][..]));
        let layer = Layer { temporal: 2, switching_up: true, spatial: 1, inter_layer: false };
        assert_eq!((descriptor.layer, descriptor.structure, descriptor.start), (Some(layer), true, true));
        for length in 0..octets.len() - 1 {
            assert_eq!(Descriptor::parse(&octets[..length]), None, "{length}");
        }
    }

    #[test]
    fn key_frames_are_the_lowest_layer_without_prediction() {
        assert!(is_key_frame(&[0x88, 1, 0]));
        assert!(!is_key_frame(&[0xc8, 1, 0]), "predicted");
        assert!(!is_key_frame(&[0x80, 1, 0]), "not its start");
        assert!(!is_key_frame(&[0xa8, 1, 0x03, 0, 0]), "an upper layer");
    }

    /// Flexible mode: reference indices go on while N is set, three at most.
    #[test]
    fn rfc9628_4_2_reference_indices_of_flexible_mode() {
        assert_eq!(Descriptor::parse(&[0x58, 0x03, 0x05, 0x06, 7]).map(|(_, rest)| rest), Some(&[7][..]));
        assert_eq!(Descriptor::parse(&[0x58, 0x03, 0x05, 0x07, 0x06]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = is_key_frame(&payload);
        }
    }
}
