//! A server in daily operation: call records on disk, and health and metrics for those who watch it.

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http")]
mod metrics;
mod records;

#[cfg(feature = "http")]
pub use metrics::metrics;
pub use records::{CallRecordFile, RecordFileError};
