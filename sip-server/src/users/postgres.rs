//! Users in a `PostgreSQL` database.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_auth::Secret;
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::row::{Columns, secret};
use super::store::{Finding, Ready, UserStore, UserStoreError};
use crate::tls_client::tls_client;

/// A user's row, if the settings name no other query.
const QUERY: &str = "SELECT password, ha1, ha1_sha256 FROM users WHERE name = $1";
/// How long to wait for the database: whoever asks is a phone that repeats its request.
const PATIENCE: Duration = Duration::from_secs(2);
/// After a connection that failed, all who ask get the same answer for so long.
const PAUSE: Duration = Duration::from_millis(500);

/// One connection to a database with a table `users`, or whatever else a query of one's own reads; questions share it and do not
/// wait for each other. A connection that is lost is made anew with the next question.
///
/// ```sql
/// CREATE TABLE users (name TEXT PRIMARY KEY, password TEXT, ha1 TEXT, ha1_sha256 TEXT);
/// ```
///
/// Over TCP the database has to show a certificate for its name, issued by one of the authorities, unless the URL says
/// `sslmode=disable`; one that has no TLS at all is refused with `sslmode=require`.
#[derive(Clone)]
pub struct PostgresUsers {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    tls: MakeRustlsConnect,
    query: String,
    state: Mutex<State>,
}

impl Inner {
    fn new(config: Config, tls: MakeRustlsConnect, query: String) -> Arc<Self> {
        Arc::new(Self { config, tls, query, state: Mutex::new(State::Never) })
    }
}

enum State {
    Never,
    Connected(Connected),
    Failed(Instant, UserStoreError),
}

#[derive(Clone)]
struct Connected {
    client: Arc<Client>,
    statement: Statement,
    columns: Columns,
}

impl fmt::Debug for PostgresUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL holds a password.
        f.debug_struct("PostgresUsers").field("query", &self.inner.query).finish_non_exhaustive()
    }
}

/// What the database itself says, in a line.
fn say(error: &tokio_postgres::Error) -> UserStoreError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    if text.contains("certificate") {
        text.push_str(
            " (name its authority, or say sslmode=disable in the URL of a database on this machine)",
        );
    }
    UserStoreError(text)
}

impl PostgresUsers {
    /// A database by its URL, `postgres://user:password@host/database`, and the authorities that may have issued its certificate:
    /// certificates in PEM, those of the system if none are given. Nothing is connected yet.
    ///
    /// # Errors
    /// When the URL or the authorities cannot be used.
    pub fn new(url: &str, authorities: Option<&[u8]>) -> Result<Self, UserStoreError> {
        let mut config = Config::from_str(url).map_err(|error| say(&error))?;
        config.connect_timeout(PATIENCE).tcp_user_timeout(PATIENCE).application_name("sip-server");
        let tls = MakeRustlsConnect::new(tls_client(authorities).map_err(UserStoreError)?);
        Ok(Self { inner: Inner::new(config, tls, QUERY.into()) })
    }

    /// Asks for a user by another query: `$1` is the name, and of the columns those named `password`, `ha1` and `ha1_sha256` count.
    #[must_use]
    pub fn query(self, query: impl Into<String>) -> Self {
        let Inner { config, tls, .. } = &*self.inner;
        Self { inner: Inner::new(config.clone(), tls.clone(), query.into()) }
    }

    /// The connection, made anew if there is none.
    async fn connected(&self) -> Result<Connected, UserStoreError> {
        let mut state = self.inner.state.lock().await;
        match &*state {
            State::Connected(connected) if !connected.client.is_closed() => return Ok(connected.clone()),
            State::Failed(at, error) if at.elapsed() < PAUSE => return Err(error.clone()),
            _ => {}
        }
        let result = tokio::time::timeout(PATIENCE, self.connect())
            .await
            .unwrap_or_else(|_| Err(UserStoreError(format!("no answer for {} s", PATIENCE.as_secs()))));
        *state = match &result {
            Ok(connected) => State::Connected(connected.clone()),
            Err(error) => State::Failed(Instant::now(), error.clone()),
        };
        result
    }

    async fn connect(&self) -> Result<Connected, UserStoreError> {
        let Inner { config, tls, query, .. } = &*self.inner;
        let (client, connection) = config.connect(tls.clone()).await.map_err(|error| say(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "the connection to the users' database is lost");
            }
        });
        let statement = client.prepare(query).await.map_err(|error| say(&error))?;
        let columns = Columns::find(statement.columns().iter().map(|column| column.name()))?;
        Ok(Connected { client: Arc::new(client), statement, columns })
    }

    async fn read(&self, name: &str) -> Result<Option<Secret>, UserStoreError> {
        let Connected { client, statement, columns } = self.connected().await?;
        let Ok(asked) = tokio::time::timeout(PATIENCE, client.query_opt(&statement, &[&name])).await else {
            // Nobody may be there any more: the next question shall find out.
            let mut state = self.inner.state.lock().await;
            if matches!(&*state, State::Connected(now) if Arc::ptr_eq(&now.client, &client)) {
                *state = State::Never;
            }
            return Err(UserStoreError(format!("no answer for {} s", PATIENCE.as_secs())));
        };
        let Some(row) = asked.map_err(|error| say(&error))? else { return Ok(None) };
        let text = |at| column(&row, at);
        Ok(secret(text(columns.password)?, text(columns.ha1)?, text(columns.ha1_sha256)?))
    }
}

fn column(row: &Row, at: Option<usize>) -> Result<Option<String>, UserStoreError> {
    let Some(at) = at else { return Ok(None) };
    row.try_get(at).map_err(|error| say(&error))
}

impl UserStore for PostgresUsers {
    fn find(&self, name: String) -> Finding<'_> {
        Box::pin(async move { self.read(&name).await })
    }

    fn ready(&self) -> Ready<'_> {
        Box::pin(async move { self.connected().await.map(drop) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_url_that_is_none_is_refused_and_a_password_is_not_shown() {
        let error = PostgresUsers::new("postgres://sip@localhost/sip?shoe=42", None).unwrap_err();
        assert!(error.to_string().contains("shoe"), "{error}");
        let users = PostgresUsers::new("postgres://sip:secret@localhost/sip", None).unwrap();
        assert!(!format!("{users:?}").contains("secret"));
    }

    /// Nobody listens there: an answer in time, and no second attempt at once.
    #[tokio::test]
    async fn a_database_that_is_not_there_is_an_error_and_not_a_wait() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let users = PostgresUsers::new(&format!("postgres://sip@127.0.0.1:{port}/sip"), None).unwrap();
        let begin = Instant::now();
        let errors: Vec<String> = {
            let (one, other) = tokio::join!(users.find("alice".into()), users.find("bob".into()));
            [one, other].into_iter().map(|found| found.unwrap_err().to_string()).collect()
        };
        assert!(errors[0].contains("connect") && errors[0] == errors[1], "{errors:?}");
        assert!(begin.elapsed() < 2 * PATIENCE && users.ready().await.is_err());
    }
}
