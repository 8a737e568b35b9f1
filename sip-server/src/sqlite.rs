//! Files of `SQLite` that the server itself writes.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

/// How long another program that reads the file is waited for.
const BUSY: Duration = Duration::from_secs(2);

/// Opens a file, makes in it what `schema` says is missing, and tries `query` on it: a table of another make is found now and not
/// later. What is committed is on the disk.
pub(crate) fn open(path: &Path, schema: &str, query: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // In this mode a commit waits for the disk only if it is told to.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(schema)?;
    connection.prepare(query)?;
    Ok(connection)
}
