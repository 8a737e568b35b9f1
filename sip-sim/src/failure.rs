//! What is kept of a run that failed: its message and its trace, by way of the simulation that is dropped.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::trace::Trace;

thread_local! {
    /// The trace of the simulation that was dropped last while its thread panicked.
    static LAST: RefCell<Option<Trace>> = const { RefCell::new(None) };
    /// While a run is tried again: its trace is kept whatever the scenario says, and its panic is not printed.
    static AGAIN: Cell<bool> = const { Cell::new(false) };
}

/// A run that panicked.
pub(crate) struct Failure {
    pub(crate) panic: Box<dyn Any + Send>,
    pub(crate) trace: Trace,
}

impl Failure {
    /// What the panic said.
    pub(crate) fn message(&self) -> &str {
        let text = self.panic.downcast_ref::<&str>().copied();
        text.or_else(|| self.panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
    }
}

/// Keeps the trace of a failing simulation. Called when it is dropped.
pub(crate) fn keep(trace: Trace) {
    // During the end of a thread there is nobody left to look at it.
    let _ = LAST.try_with(|last| *last.borrow_mut() = Some(trace));
}

/// Whether traces are wanted although the scenario switched them off.
pub(crate) fn is_repeated() -> bool {
    AGAIN.try_with(Cell::get).unwrap_or(false)
}

/// Runs something; gives what is known if it panics.
pub(crate) fn attempt(run: impl FnOnce()) -> Result<(), Failure> {
    LAST.with(|last| last.borrow_mut().take());
    panic::catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let trace = LAST.with(|last| last.borrow_mut().take()).unwrap_or_default();
        Failure { panic, trace }
    })
}

/// The same for a run that failed before: silently, and with its trace.
pub(crate) fn attempt_again(run: impl FnOnce()) -> Result<(), Failure> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !is_repeated() {
                before(info);
            }
        }));
    });
    AGAIN.with(|again| again.set(true));
    let result = attempt(run);
    AGAIN.with(|again| again.set(false));
    result
}
