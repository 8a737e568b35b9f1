//! The connection to Redis: made anew when it is lost, and never waited for by everybody.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, RedisError,
    RedisResult, ServerErrorKind,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::encoding::Clock;
use crate::tls_client::tls_client;

/// How long Redis is waited for: whoever asks is a phone that repeats its request.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// After Redis did not answer or could not be reached, all who ask are told so for so long.
const PAUSE: Duration = Duration::from_millis(500);
/// How often its clock is asked for. A connection that stands still while nobody asks is found by that, too.
const CLOCK_AGAIN: Duration = Duration::from_secs(60);
/// Questions on their way into the connection.
const QUEUE: usize = 1024;

/// A Redis, and the one connection to it, which all questions share.
pub(super) struct Link {
    info: ConnectionInfo,
    /// Over TLS, to a host of this name.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    state: Mutex<State>,
    /// Held by who makes the connection.
    connecting: tokio::sync::Mutex<()>,
}

enum State {
    /// Nobody has asked since the start, or since a connection was closed.
    None,
    Connected(Connected),
    Failed(Instant, Arc<str>),
}

#[derive(Clone)]
struct Connected {
    connection: MultiplexedConnection,
    clock: Arc<Mutex<Clock>>,
    driver: Arc<Driver>,
}

/// What carries questions and answers; it ends with the last who uses it.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a question was not answered.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Redis is gone, silent, or refuses us.
    Unavailable(Arc<str>),
    /// It has answered with an error to this question.
    Refused(RedisError),
}

fn silent() -> Arc<str> {
    format!("no answer for {} s", PATIENCE.as_secs()).into()
}

/// What Redis itself says.
pub(super) fn say(error: &RedisError) -> String {
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    if error.kind() == ErrorKind::AuthenticationFailed {
        return format!("{text} (the URL says who we are: redis://USER:PASSWORD@HOST)");
    }
    text
}

impl Link {
    /// By its URL. Nothing is connected yet.
    ///
    /// # Errors
    /// When the URL or the authorities cannot be used, in words.
    pub(super) fn new(url: &str, authorities: Option<&[u8]>) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("no URL: write it like redis://HOST:6379")?;
        // TLS is made here, with the authorities that were given.
        let (scheme, secure) = match scheme {
            "rediss" | "valkeys" => ("redis", true),
            plain => (plain, false),
        };
        if rest.contains('#') {
            return Err("nothing may follow a # in the URL".into());
        }
        let info = format!("{scheme}://{rest}").into_connection_info().map_err(|error| say(&error))?;
        let tls = match info.addr() {
            ConnectionAddr::Tcp(host, _) if secure => {
                let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
                Some((TlsConnector::from(Arc::new(tls_client(authorities)?)), name))
            }
            _ if authorities.is_some() => {
                return Err("authorities are for TLS: write rediss:// for it".into());
            }
            _ => None,
        };
        Ok(Self { info, tls, state: Mutex::new(State::None), connecting: tokio::sync::Mutex::new(()) })
    }

    /// Where it is, without a password.
    pub(super) fn place(&self) -> String {
        let scheme = match (self.info.addr(), &self.tls) {
            (ConnectionAddr::Unix(_), _) => "redis+unix",
            (_, Some(_)) => "rediss",
            (_, None) => "redis",
        };
        format!("{scheme}://{}", self.info.addr())
    }

    /// Asks Redis something, and tells the time there.
    pub(super) async fn ask<T, F>(
        &self,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<(T, Clock), Unanswered>
    where
        F: Future<Output = RedisResult<T>>,
    {
        self.ask_at(|connection, _| ask(connection)).await
    }

    /// The same for what depends on the time there.
    pub(super) async fn ask_at<T, F>(
        &self,
        ask: impl FnOnce(MultiplexedConnection, Clock) -> F,
    ) -> Result<(T, Clock), Unanswered>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let connected = self.connected().await.map_err(Unanswered::Unavailable)?;
        let clock = *locked(&connected.clock);
        let error = match tokio::time::timeout(PATIENCE, ask(connected.connection.clone(), clock)).await {
            Ok(Ok(answer)) => return Ok((answer, clock)),
            Ok(Err(error)) => error,
            Err(_) => {
                // It may come to itself, and have done what it was asked: nobody can say.
                let why = silent();
                self.lost(&connected, &why, State::Failed(Instant::now(), why.clone()));
                return Err(Unanswered::Unavailable(why));
            }
        };
        let lost = error.is_io_error()
            || error.is_unrecoverable_error()
            || matches!(
                error.kind(),
                // Another one is the master now; or it still reads its file.
                ErrorKind::Server(
                    ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading
                )
            );
        if !lost {
            return Err(Unanswered::Refused(error));
        }
        let why: Arc<str> = say(&error).into();
        self.lost(&connected, &why, State::None);
        Err(Unanswered::Unavailable(why))
    }

    /// A connection is of no use any more, unless there is another one already.
    fn lost(&self, connected: &Connected, why: &str, then: State) {
        let mut state = locked(&self.state);
        if matches!(&*state, State::Connected(now) if Arc::ptr_eq(&now.driver, &connected.driver)) {
            *state = then;
            tracing::warn!(place = %self.place(), why, "the connection to the location store is lost");
        }
    }

    /// The connection; or, while there was none a moment ago, why not.
    fn present(&self) -> Option<Result<Connected, Arc<str>>> {
        match &*locked(&self.state) {
            State::Connected(connected) if !connected.driver.0.is_finished() => Some(Ok(connected.clone())),
            State::Failed(at, why) if at.elapsed() < PAUSE => Some(Err(why.clone())),
            _ => None,
        }
    }

    /// The connection, made anew if there is none. While Redis is known to be gone one at a time finds out whether it is back, and
    /// nobody else waits for that.
    async fn connected(&self) -> Result<Connected, Arc<str>> {
        if let Some(present) = self.present() {
            return present;
        }
        let failed = match &*locked(&self.state) {
            State::Failed(_, why) => Some(why.clone()),
            _ => None,
        };
        let _connecting = match (self.connecting.try_lock(), failed) {
            (Ok(turn), _) => turn,
            (Err(_), Some(why)) => return Err(why),
            (Err(_), None) => self.connecting.lock().await,
        };
        if let Some(present) = self.present() {
            return present;
        }
        let result = tokio::time::timeout(PATIENCE, self.connect()).await.unwrap_or_else(|_| Err(silent()));
        let mut state = locked(&self.state);
        *state = match &result {
            Ok(connected) => State::Connected(connected.clone()),
            Err(why) => {
                // Told once: it may be gone for long.
                if !matches!(&*state, State::Failed(..)) {
                    tracing::error!(place = %self.place(), why = &**why, "the location store is unavailable");
                }
                State::Failed(Instant::now(), why.clone())
            }
        };
        drop(state);
        result
    }

    async fn connect(&self) -> Result<Connected, Arc<str>> {
        let io = |error: std::io::Error| -> Arc<str> {
            let mut text = error.to_string();
            if text.contains("certificate") {
                text.push_str(" (name its authority)");
            }
            text.into()
        };
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(io)?;
                // A question is one small write, and waits for its answer.
                stream.set_nodelay(true).map_err(io)?;
                match &self.tls {
                    Some((tls, name)) => {
                        self.over(tls.connect(name.clone(), stream).await.map_err(io)?).await
                    }
                    None => self.over(stream).await,
                }
            }
            ConnectionAddr::Unix(path) => self.over(UnixStream::connect(path).await.map_err(io)?).await,
            _ => Err("this kind of address is not understood".into()),
        }
    }

    async fn over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Connected, Arc<str>> {
        let said = |error: RedisError| -> Arc<str> { say(&error).into() };
        // The one who asks waits, and here each is waited for as long.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let settings = self.info.redis_settings();
        let made = MultiplexedConnection::new_with_config(settings, stream, config).await;
        let (connection, carry) = made.map_err(said)?;
        let clock = Arc::new(Mutex::new(Clock { at: Instant::now(), unix: 0 }));
        let driver = tokio::spawn({
            let (connection, clock) = (connection.clone(), clock.clone());
            async move {
                tokio::select! {
                    () = carry => {}
                    () = keep_time(connection, &clock) => {}
                }
            }
        });
        let connected = Connected { connection, clock, driver: Arc::new(Driver(driver)) };
        let read = read_time(connected.connection.clone()).await.map_err(said)?;
        *locked(&connected.clock) = read;
        tracing::info!(place = %self.place(), "the location store is connected");
        Ok(connected)
    }
}

/// The time there, as of the middle of the question.
async fn read_time(mut connection: MultiplexedConnection) -> RedisResult<Clock> {
    let asked = Instant::now();
    let (seconds, microseconds): (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await?;
    let at = asked.checked_add(asked.elapsed() / 2).unwrap_or(asked);
    let unix = seconds.saturating_mul(1000).saturating_add(microseconds / 1000);
    Ok(Clock { at, unix })
}

/// Returns when Redis is silent.
async fn keep_time(connection: MultiplexedConnection, clock: &Mutex<Clock>) {
    loop {
        tokio::time::sleep(CLOCK_AGAIN).await;
        let Ok(Ok(read)) = tokio::time::timeout(PATIENCE, read_time(connection.clone())).await else {
            return;
        };
        *locked(clock) = read;
    }
}
