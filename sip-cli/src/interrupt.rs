//! Ctrl-C and the request to terminate.

use tokio::sync::watch;

use crate::exit::Code;

/// Tells every part of the program that it is to end. The first signal lets it end in good order, the second ends
/// it at once.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens for signals from now on.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (sender, receiver) = watch::channel(false);
        #[cfg(unix)]
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::spawn(async move {
            loop {
                #[cfg(unix)]
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminate.recv() => {}
                }
                #[cfg(not(unix))]
                if tokio::signal::ctrl_c().await.is_err() {
                    return;
                }
                if sender.send_replace(true) {
                    std::process::exit(i32::from(Code::Fault.number()));
                }
            }
        });
        Ok(Self(receiver))
    }

    /// Waits until the program is to end; returns at once when it is already.
    pub(crate) async fn requested(&mut self) {
        if self.0.wait_for(|requested| *requested).await.is_err() {
            // Nobody listens for signals any more: none will come.
            std::future::pending::<()>().await;
        }
    }
}
