//! What becomes of each call: the records that a bill or a fault report is made of, and how long callers wait.
//!
//! The proxy itself forgets a call once it is answered: a BYE finds its way by the Route that it carries. Who wants records
//! switches [`Config::call_records`](crate::Config::call_records) on, and some 600 bytes are kept for each call until its BYE
//! passes. Records leave the core by [`poll_call_record`](crate::ServerCore::poll_call_record).

mod elsewhere;
mod histogram;
mod lines;
mod log;
mod record;
mod seats;

pub(crate) use elsewhere::Snapshot;
pub use histogram::{Histogram, WAITING_TIMES};
pub(crate) use lines::{Change, UserCalls};
pub(crate) use log::CallLog;
pub use log::{CallLimits, CallStatistics};
pub use record::{CallRecord, Ending};
pub(crate) use seats::{Seat, Seats};
