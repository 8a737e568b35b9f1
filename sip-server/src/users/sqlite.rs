//! Users in a file of `SQLite`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use sip_auth::Secret;

use super::row::{Columns, secret};
use super::store::{Finding, UserStore, UserStoreError};

/// How long a writer of another program is waited for.
const BUSY: Duration = Duration::from_secs(2);

/// A table `users` with the columns `name`, `password`, `ha1` (MD5) and `ha1_sha256`; what a user does not have is NULL or missing
/// text. The file is read only, so that others may write it while the server runs.
///
/// ```sql
/// CREATE TABLE users (name TEXT PRIMARY KEY, password TEXT, ha1 TEXT, ha1_sha256 TEXT);
/// INSERT INTO users (name, password) VALUES ('alice', 'wonderland');
/// ```
#[derive(Clone, Debug)]
pub struct SqliteUsers {
    connection: Arc<Mutex<Connection>>,
    query: Arc<str>,
    columns: Columns,
}

/// A user's row, if the settings name no other query.
const QUERY: &str = "SELECT password, ha1, ha1_sha256 FROM users WHERE name = ?1";

impl SqliteUsers {
    /// Opens the file, which has to be there with its table.
    ///
    /// # Errors
    /// When it cannot be read or has no such table.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, UserStoreError> {
        Self::open_with_query(path, QUERY)
    }

    /// The same with a query of one's own: `?1` is the name, and of the columns those named `password`, `ha1` and `ha1_sha256`
    /// count.
    ///
    /// # Errors
    /// When the file cannot be read, or the query does not fit it.
    pub fn open_with_query(path: impl AsRef<Path>, query: &str) -> Result<Self, UserStoreError> {
        let path = path.as_ref();
        let fault = |error: rusqlite::Error| UserStoreError(format!("{}: {error}", path.display()));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
        connection.busy_timeout(BUSY).map_err(fault)?;
        let columns = Columns::find(connection.prepare(query).map_err(fault)?.column_names())?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), query: query.into(), columns })
    }

    fn read(&self, name: &str) -> Result<Option<Secret>, UserStoreError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let Columns { password, ha1, ha1_sha256 } = self.columns;
        let columns = |row: &rusqlite::Row<'_>| {
            let text = |at: Option<usize>| at.map_or(Ok(None), |at| row.get(at));
            Ok((text(password)?, text(ha1)?, text(ha1_sha256)?))
        };
        let found = connection
            .prepare_cached(&self.query)
            .and_then(|mut query| query.query_row([name], columns).optional())
            .map_err(|error| UserStoreError(error.to_string()))?;
        Ok(found.and_then(|(password, md5, sha256)| secret(password, md5, sha256)))
    }
}

impl UserStore for SqliteUsers {
    fn find(&self, name: String) -> Finding<'_> {
        let users = self.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || users.read(&name)).await;
            read.unwrap_or_else(|error| Err(UserStoreError(error.to_string())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_auth::{Hash, HexDigest};

    #[tokio::test]
    async fn users_are_read_as_they_are_at_the_moment() {
        let folder = std::env::temp_dir().join(format!("sip-server-users-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("users.db");
        assert!(SqliteUsers::open(&path).unwrap_err().to_string().contains("users.db"));
        let writer = Connection::open(&path).unwrap();
        assert!(SqliteUsers::open(&path).unwrap_err().to_string().contains("no such table"));
        writer
            .execute_batch(
                "CREATE TABLE users (name TEXT PRIMARY KEY, password TEXT, ha1 TEXT, ha1_sha256 TEXT);
                 INSERT INTO users (name, password) VALUES ('alice', 'wonderland'), ('empty', '');
                 INSERT INTO users (name, ha1) VALUES ('bob', '37593d991414f52c30246c60c7798431');",
            )
            .unwrap();
        let users = SqliteUsers::open(&path).unwrap();
        let find = async |name: &str| users.find(name.to_owned()).await.unwrap();
        assert_eq!(find("alice").await, Some(Secret::password("wonderland")));
        let ha1 = HexDigest::parse(Hash::Md5, "37593d991414f52c30246c60c7798431").unwrap();
        assert_eq!(find("bob").await, Some(Secret::ha1(Hash::Md5, ha1)));
        for nobody in ["carol", "empty", "alice' OR '1'='1"] {
            assert_eq!(find(nobody).await, None, "{nobody}");
        }
        writer.execute("UPDATE users SET password = 'looking glass' WHERE name = 'alice'", []).unwrap();
        assert_eq!(find("alice").await, Some(Secret::password("looking glass")));
        // A table that was there before.
        writer
            .execute_batch(
                "CREATE TABLE subscriber (username TEXT, domain TEXT, ha1 TEXT);
                 INSERT INTO subscriber VALUES ('bob', 'example.com', '37593d991414f52c30246c60c7798431');",
            )
            .unwrap();
        let query = "SELECT ha1 FROM subscriber WHERE username = ?1 AND domain = 'example.com'";
        let users = SqliteUsers::open_with_query(&path, query).unwrap();
        assert_eq!(users.find("bob".into()).await.unwrap(), Some(Secret::ha1(Hash::Md5, ha1)));
        let error = SqliteUsers::open_with_query(&path, "SELECT domain FROM subscriber").unwrap_err();
        assert!(error.to_string().contains("none of the columns"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
