//! Subscriptions and publications in a file of `SQLite`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rusqlite::{Connection, params};

use super::record::{EventChange, EventKind, EventRecord};
use super::store::{EventStore, EventStoreError, Loading, Writing};
use crate::sqlite::open;

const QUERY: &str = "SELECT kind, id, expires, octets FROM events LIMIT 0";

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS events (
    kind INTEGER NOT NULL,
    id TEXT NOT NULL,
    expires INTEGER NOT NULL,
    octets BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS events_over ON events (expires);
";

/// A table `events` in a file of `SQLite`, which is made if it is not there; it may be the file of the messages. A write is on the
/// disk when its future is ready.
#[derive(Clone, Debug)]
pub struct SqliteEvents {
    connection: Arc<Mutex<Connection>>,
    place: Arc<str>,
}

impl SqliteEvents {
    /// Opens the file.
    ///
    /// # Errors
    /// When it cannot be opened or made, is none of `SQLite`, or has another table of that name.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, EventStoreError> {
        let place: Arc<str> = path.as_ref().display().to_string().into();
        let fault =
            |error: rusqlite::Error| EventStoreError { place: place.to_string(), why: error.to_string() };
        let connection = open(path.as_ref(), SCHEMA, QUERY).map_err(fault)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), place })
    }

    /// A disk may stand still: never on a thread that carries messages.
    async fn on_disk<T: Send + 'static>(
        self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, EventStoreError> {
        let Self { connection, place } = self;
        let done = tokio::task::spawn_blocking(move || {
            work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let fault = |why: String| EventStoreError { place: place.to_string(), why };
        done.await.map_err(|error| fault(error.to_string()))?.map_err(|error| fault(error.to_string()))
    }
}

const fn number_of(kind: EventKind) -> i64 {
    match kind {
        EventKind::Subscription => 1,
        EventKind::Publication => 2,
    }
}

fn load(connection: &mut Connection) -> rusqlite::Result<Vec<EventRecord>> {
    let mut query = connection.prepare("SELECT kind, id, expires, octets FROM events ORDER BY kind, id")?;
    let rows = query.query_map([], |row| {
        let (kind, id, expires): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let octets: Vec<u8> = row.get(3)?;
        Ok((kind, id, expires, octets))
    })?;
    let mut records = Vec::new();
    for row in rows {
        let (kind, id, expires, octets) = row?;
        let kinds = [EventKind::Subscription, EventKind::Publication];
        // Of a newer version of this program.
        let Some(kind) = kinds.into_iter().find(|known| number_of(*known) == kind) else { continue };
        let expires = u64::try_from(expires).unwrap_or(0);
        records.push(EventRecord { kind, id: id.into(), expires, octets: octets.into() });
    }
    Ok(records)
}

fn write(connection: &mut Connection, changes: &[EventChange], now: u64) -> rusqlite::Result<()> {
    let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    let transaction = connection.transaction()?;
    for change in changes {
        match change {
            EventChange::Keep(EventRecord { kind, id, expires, octets }) => {
                let put = "INSERT OR REPLACE INTO events (kind, id, expires, octets) VALUES (?1, ?2, ?3, ?4)";
                let row = params![number_of(*kind), &**id, signed(*expires), &octets[..]];
                transaction.prepare_cached(put)?.execute(row)?;
            }
            EventChange::Remove(kind, id) => {
                let delete = "DELETE FROM events WHERE kind = ?1 AND id = ?2";
                transaction.prepare_cached(delete)?.execute(params![number_of(*kind), &**id])?;
            }
        }
    }
    transaction.prepare_cached("DELETE FROM events WHERE expires < ?1")?.execute([signed(now)])?;
    transaction.commit()
}

impl EventStore for SqliteEvents {
    fn load(&self) -> Loading {
        Box::pin(self.clone().on_disk(load))
    }

    fn write(&self, changes: Vec<EventChange>) -> Writing {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Box::pin(self.clone().on_disk(move |connection| write(connection, &changes, now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: EventKind, id: &str, expires: u64) -> EventRecord {
        EventRecord { kind, id: id.into(), expires, octets: format!("of {id}\0\n").into() }
    }

    #[tokio::test]
    async fn what_is_kept_is_there_after_a_restart() {
        let folder = std::env::temp_dir().join(format!("sip-server-events-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("events.db");
        let far = u64::from(u32::MAX);
        let (one, two) =
            (record(EventKind::Subscription, "a", far), record(EventKind::Publication, "a", far));
        let store = SqliteEvents::open(&path).unwrap();
        let keep = |record: &EventRecord| EventChange::Keep(record.clone());
        let over = record(EventKind::Publication, "over", 1);
        store.write(vec![keep(&one), keep(&two), keep(&over)]).await.unwrap();
        let changed = EventRecord { octets: "new".into(), ..one };
        store.write(vec![keep(&changed), keep(&record(EventKind::Subscription, "b", far))]).await.unwrap();
        store.write(vec![EventChange::Remove(EventKind::Subscription, "b".into())]).await.unwrap();
        drop(store);
        let store = SqliteEvents::open(&path).unwrap();
        assert_eq!(store.load().await.unwrap(), [changed, two]);
        drop(store);
        std::fs::write(&path, "no database, and longer than the head of one. ".repeat(30)).unwrap();
        assert!(SqliteEvents::open(&path).unwrap_err().to_string().contains("events.db"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
