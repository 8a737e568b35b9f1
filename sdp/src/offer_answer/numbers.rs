//! What numbers stand for in our descriptions, for the whole session.

use super::extensions::ExtensionIds;
use super::payload_types::PayloadTypes;

#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    pub(super) payload_types: PayloadTypes,
    pub(super) extensions: ExtensionIds,
}
