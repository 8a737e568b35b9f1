//! Bindings in Redis or Valkey, which several servers share.

mod connection;
mod encoding;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use redis::{RedisError, Script};

use self::connection::{Link, Unanswered, say};
use self::encoding::{Clock, decode, encode};
use super::record::{Record, RecordError};
use super::{
    Answer, Answering, Binding, Bindings, LocationStore, LocationStoreError, Opening, Question, Shared,
    StoreError, Version,
};
use crate::AddressOfRecord;

/// What keys begin with.
const PREFIX: &str = "sip:location:";

/// Behind the prefix, the key that all servers share. No address-of-record is without an `@`.
const SHARED_KEY: &str = "key";

/// Replaces the value of a key, if its version is still the one expected: 8 octets as they stand in the record, or none where no key is
/// expected. In one step for everybody, whichever server asks. Gives nothing when it is done, else what is there.
const UPDATE: &str = "
local old = redis.call('GET', KEYS[1])
local same
if old then
    same = #old >= 20 and string.sub(old, 13, 20) == ARGV[1]
else
    same = ARGV[1] == ''
end
if not same then
    return old or ''
end
if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[2])
    redis.call('PEXPIREAT', KEYS[1], ARGV[3])
end
return false
";

/// Keys asked for at a time by [`RedisLocation::each`].
const SCANNED: usize = 500;

/// Bindings in Redis or Valkey: several servers of the same domains share them, and a phone that registers with one is called through
/// any other.
///
/// An address-of-record is one key, `sip:location:alice@example.com`; its value is a [`Record`], whose sequence number is the version.
/// The key ends with its last binding. A change is compared and set by a script in one step, and is acknowledged when Redis has
/// answered: how durable that is says Redis (`appendfsync`, `min-replicas-to-write`). All servers go by Redis's clock.
///
/// Look-ups read Redis each time. A copy here would have to be told of each change that another server makes, and be thrown away with
/// each connection that is lost; until then it would send calls to where nobody is. A look-up is one question on a connection that all
/// share, and Redis answers more of them than a server has calls.
///
/// While Redis is silent or gone, questions fail within two seconds, and those after them at once; it is found again within a second of its
/// return.
#[derive(Clone)]
pub struct RedisLocation {
    link: Arc<Link>,
    prefix: Arc<str>,
    update: Arc<Script>,
}

impl fmt::Debug for RedisLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL holds a password.
        f.debug_struct("RedisLocation")
            .field("place", &self.link.place())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl RedisLocation {
    /// A Redis or Valkey by its URL, and the authorities that may have issued its certificate: certificates in PEM, those of the system if
    /// none are given. Nothing is connected yet.
    ///
    /// `redis://USER:PASSWORD@HOST:PORT/DATABASE`, `rediss:` over TLS, `redis+unix:///PATH` for a socket of this machine;
    /// `valkey:` likewise.
    ///
    /// # Errors
    /// When the URL or the authorities cannot be used.
    pub fn new(url: &str, authorities: Option<&[u8]>) -> Result<Self, LocationStoreError> {
        let link = Link::new(url, authorities).map_err(|why| {
            // It cannot be shown as it is: it may hold a password.
            let scheme = url.split("://").next().unwrap_or_default();
            LocationStoreError { place: format!("{scheme}://..."), why }
        })?;
        let update = Arc::new(Script::new(UPDATE));
        Ok(Self { link: Arc::new(link), prefix: PREFIX.into(), update })
    }

    /// What keys begin with, in place of `sip:location:`: for several groups of servers in one Redis.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<Arc<str>>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    fn key(&self, aor: &str) -> String {
        format!("{}{aor}", self.prefix)
    }

    fn fault(&self, why: impl Into<String>) -> LocationStoreError {
        LocationStoreError { place: self.link.place(), why: why.into() }
    }

    fn unanswered(&self, unanswered: Unanswered) -> LocationStoreError {
        match unanswered {
            Unanswered::Unavailable(why) => self.fault(&*why),
            Unanswered::Refused(error) => self.fault(say(&error)),
        }
    }

    /// The key of all servers. The first one of them makes it.
    async fn shared(&self) -> Result<Shared, LocationStoreError> {
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh).map_err(|error| self.fault(error.to_string()))?;
        let name = self.key(SHARED_KEY);
        let asked = self.link.ask(|mut connection| async move {
            let mut both = redis::pipe();
            both.cmd("SET").arg(&name).arg(&fresh[..]).arg("NX").ignore().cmd("GET").arg(&name);
            both.query_async::<(Vec<u8>,)>(&mut connection).await
        });
        let ((key,), _) = asked.await.map_err(|error| self.unanswered(error))?;
        let key = key.try_into().map_err(|_| {
            let why = format!("{} is no key of 32 octets; remove it to get a new one", self.key(SHARED_KEY));
            self.fault(why)
        })?;
        Ok(Shared { key })
    }

    async fn look_up(&self, aor: AddressOfRecord) -> Answer {
        let key = self.key(aor.as_str());
        let asked = self.link.ask(|mut connection| async move {
            redis::cmd("GET").arg(key).query_async::<Option<Vec<u8>>>(&mut connection).await
        });
        match asked.await {
            Ok((octets, clock)) => {
                self.read(&aor, &octets.unwrap_or_default(), clock).map_or_else(Answer::Failed, Answer::Found)
            }
            Err(error) => Answer::Failed(self.failed(&aor, error)),
        }
    }

    async fn update(
        &self,
        aor: AddressOfRecord,
        expected: Version,
        bindings: &[Binding],
        now: Instant,
    ) -> Answer {
        let Some(version) = after(expected) else { return Answer::Failed(StoreError::Unavailable) };
        let key = self.key(aor.as_str());
        let update = &self.update;
        let asked = self.link.ask_at(|mut connection, clock| {
            let aor = aor.clone();
            async move {
                let (octets, last) = if bindings.is_empty() {
                    (Vec::new(), 0)
                } else {
                    match encode(aor.as_str(), bindings, version, clock, now) {
                        Ok((record, last)) => (record.octets().to_vec(), last),
                        Err(error) => return Ok(Err(error)),
                    }
                };
                let old = if expected == Version(0) { Vec::new() } else { expected.0.to_le_bytes().to_vec() };
                let mut asked = update.key(key);
                let asked = asked.arg(old).arg(octets).arg(last);
                Ok(Ok(asked.invoke_async::<Option<Vec<u8>>>(&mut connection).await?))
            }
        });
        match asked.await {
            Ok((Ok(None), _)) => Answer::Updated,
            Ok((Ok(Some(octets)), clock)) => {
                self.read(&aor, &octets, clock).map_or_else(Answer::Failed, Answer::Conflict)
            }
            Ok((Err(error), _)) => {
                tracing::error!(%aor, %error, "bindings are not stored");
                Answer::Failed(StoreError::Full)
            }
            Err(error) => Answer::Failed(self.failed(&aor, error)),
        }
    }

    /// What is damaged is so for one address-of-record alone.
    fn read(&self, aor: &AddressOfRecord, octets: &[u8], clock: Clock) -> Result<Bindings, StoreError> {
        decode(aor.as_str(), octets, clock).map_err(|error| {
            let key = self.key(aor.as_str());
            tracing::error!(key, %error, "a key of the location store cannot be read; remove it, and the phones register anew");
            StoreError::Unreadable
        })
    }

    fn failed(&self, aor: &AddressOfRecord, unanswered: Unanswered) -> StoreError {
        let error = match unanswered {
            Unanswered::Unavailable(why) => {
                tracing::debug!(%aor, why = &*why, "the location store is unavailable");
                return StoreError::Unavailable;
            }
            Unanswered::Refused(error) => error,
        };
        let key = self.key(aor.as_str());
        tracing::error!(key, error = say(&error), "the location store refuses");
        match error.code() {
            Some("WRONGTYPE") => StoreError::Unreadable,
            Some("OOM") => StoreError::Full,
            _ if is_of_wrong_type(&error) => StoreError::Unreadable,
            _ => StoreError::Unavailable,
        }
    }

    /// Shows every address-of-record, in no order, once or more often if it changes meanwhile: its key, and what is in it.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn each(
        &self,
        mut show: impl FnMut(&str, Result<Record, RecordError>),
    ) -> Result<(), LocationStoreError> {
        // Its letters stand for themselves.
        let literal: String = self.prefix.chars().flat_map(|c| ['\\', c]).collect();
        let pattern = format!("{literal}*@*");
        let mut cursor = 0_u64;
        loop {
            let pattern = &pattern;
            let asked = self.link.ask(|mut connection| async move {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCANNED);
                let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut connection).await?;
                let values: Vec<Option<Vec<u8>>> = if keys.is_empty() {
                    Vec::new()
                } else {
                    redis::cmd("MGET").arg(&keys).query_async(&mut connection).await?
                };
                Ok((next, keys, values))
            });
            let ((next, keys, values), _) = asked.await.map_err(|error| self.unanswered(error))?;
            for (key, value) in keys.iter().zip(values) {
                let key = String::from_utf8_lossy(key);
                // Gone in between, or no text at all, which no server wrote.
                let read = match value {
                    Some(octets) => Record::read(&octets).and_then(|record| {
                        let whole = record.octets().len() == octets.len() && self.key(record.aor()) == *key;
                        if whole { Ok(record) } else { Err(RecordError::Damaged) }
                    }),
                    None => continue,
                };
                show(&key, read);
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}

/// The error of a command within a script comes with another code.
fn is_of_wrong_type(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("WRONGTYPE"))
}

/// The version after this one: one more; or, for a key that is new, any. An address-of-record that was removed and has come back has no
/// version that it had before, so whoever still remembers one of those does not overwrite it.
fn after(expected: Version) -> Option<Version> {
    if expected.0 != 0 && expected.0 != u64::MAX {
        return Some(Version(expected.0.saturating_add(1)));
    }
    let mut random = [0; 8];
    getrandom::fill(&mut random).ok()?;
    // Far from the end, and not 0.
    Some(Version((u64::from_le_bytes(random) >> 1).saturating_add(1)))
}

impl LocationStore for RedisLocation {
    fn open(&self) -> Opening<'_> {
        Box::pin(async move { self.shared().await.map(Some) })
    }

    fn answer(&self, question: Question, now: Instant) -> Answering<'_> {
        Box::pin(async move {
            match question {
                Question::Lookup { aor } => self.look_up(aor).await,
                Question::Update { aor, expected, bindings } => {
                    self.update(aor, expected, &bindings, now).await
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_url_that_is_none_is_refused_and_a_password_is_not_shown() {
        for wrong in [
            "localhost:6379",
            "http://localhost",
            "redis://:secret@localhost/first",
            "rediss://:secret@h#insecure",
        ] {
            let error = RedisLocation::new(wrong, None).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let store = RedisLocation::new("rediss://sip:secret@localhost/2", None).unwrap();
        let shown = format!("{store:?}");
        assert!(!shown.contains("secret") && shown.contains("rediss://localhost:6379"), "{shown}");
        let error = RedisLocation::new("redis://localhost", Some(b"")).unwrap_err().to_string();
        assert!(error.contains("rediss://"), "{error}");
    }

    #[test]
    fn a_version_comes_never_back() {
        assert_eq!(after(Version(7)), Some(Version(8)));
        let (one, other) = (after(Version(0)).unwrap(), after(Version(0)).unwrap());
        assert!(one != other && one.0 > 0 && other.0 > 0);
        assert_ne!(after(Version(u64::MAX)), Some(Version(0)));
    }

    /// Nobody listens there: an answer in time, and no second attempt at once.
    #[tokio::test]
    async fn a_redis_that_is_not_there_is_an_error_and_not_a_wait() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let store = RedisLocation::new(&format!("redis://127.0.0.1:{port}"), None).unwrap();
        let begin = Instant::now();
        let error = store.open().await.unwrap_err().to_string();
        assert!(error.contains(&port.to_string()), "{error}");
        let aor = AddressOfRecord::new(&"sip:alice@example.com".parse().unwrap(), "example.com").unwrap();
        let answer = store.answer(Question::Lookup { aor }, Instant::now()).await;
        assert!(matches!(answer, Answer::Failed(StoreError::Unavailable)), "{answer:?}");
        assert!(begin.elapsed() < connection::PATIENCE);
    }
}
