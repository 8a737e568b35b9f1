//! Who may register and call: names and passwords.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod row;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;

#[cfg(feature = "postgres")]
pub use postgres::PostgresUsers;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteUsers;
pub(crate) use store::UserCache;
pub use store::{Finding, Ready, UserStore, UserStoreError};

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use sip_auth::Secret;

use crate::AddressOfRecord;

/// The users of a server and their secrets.
///
/// A file has one user a line, `name:password`; what follows the first colon is the password. `#` starts a line of
/// comment. A name is either a user part, good in every domain of the server, or `user@domain`.
///
/// ```
/// use sip_server::Users;
/// let users = Users::parse("# the house\nalice:wonderland\nbob:a:b\n")?;
/// assert_eq!(users.len(), 2);
/// assert!(users.secret("bob").is_some());
/// assert!(Users::parse("carol").unwrap_err().to_string().starts_with("line 1:"));
/// # Ok::<(), sip_server::UsersError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Users {
    /// `None`: a certificate alone proves this user. A clone, for each of several cores, takes no room.
    secrets: Arc<HashMap<String, Option<Secret>>>,
}

/// Why a file of users cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// A line without colon.
    #[error("line {0}: expected `name:password`")]
    NoColon(usize),
    /// Nothing before the colon.
    #[error("line {0}: the name before ':' is empty")]
    NoName(usize),
    /// Nothing behind the colon: everybody could be that user.
    #[error("line {0}: the password behind ':' is empty")]
    NoPassword(usize),
    /// A name with white space, which no user name of a request can equal.
    #[error("line {0}: the name holds white space")]
    WhiteSpace(usize),
    /// The same name twice.
    #[error("line {line}: the user {name} was defined above")]
    Twice {
        /// The second line.
        line: usize,
        /// The name.
        name: String,
    },
    /// The file cannot be read.
    #[error("cannot read the users from {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
}

impl Users {
    /// Nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a user.
    #[must_use]
    pub fn with(mut self, name: &str, secret: Secret) -> Self {
        Arc::make_mut(&mut self.secrets).insert(name.to_owned(), Some(secret));
        self
    }

    /// Adds a user who has no password, and proves himself with a certificate.
    #[must_use]
    pub fn with_certificate(mut self, name: &str) -> Self {
        Arc::make_mut(&mut self.secrets).entry(name.to_owned()).or_default();
        self
    }

    /// Reads users from text, a line each.
    ///
    /// # Errors
    /// The first line that is not understood, by its number.
    pub fn parse(text: &str) -> Result<Self, UsersError> {
        let mut secrets = HashMap::new();
        for (line, number) in text.lines().zip(1_usize..) {
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            let (name, password) = line.split_once(':').ok_or(UsersError::NoColon(number))?;
            let name = name.trim();
            if name.is_empty() {
                return Err(UsersError::NoName(number));
            }
            if name.contains(char::is_whitespace) {
                return Err(UsersError::WhiteSpace(number));
            }
            if password.is_empty() {
                return Err(UsersError::NoPassword(number));
            }
            if secrets.insert(name.to_owned(), Some(Secret::password(password))).is_some() {
                return Err(UsersError::Twice { line: number, name: name.to_owned() });
            }
        }
        Ok(Self { secrets: Arc::new(secrets) })
    }

    /// Reads users from a file.
    ///
    /// # Errors
    /// When the file cannot be read or a line of it is not understood.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, UsersError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|error| UsersError::Read { path: path.display().to_string(), error })?;
        Self::parse(&text)
    }

    /// The secret of a user name.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)?.as_ref()
    }

    /// Whether there is a user of this name, with a secret or without.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.secrets.contains_key(name)
    }

    /// Whether the address-of-record belongs to a user.
    #[must_use]
    pub fn knows(&self, aor: &AddressOfRecord) -> bool {
        self.secrets.contains_key(aor.user()) || self.secrets.contains_key(aor.as_str())
    }

    /// The user names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.secrets.keys().map(String::as_str)
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }
}

/// Whether the holder of a user name owns an address-of-record: `alice` and `alice@example.com` own
/// `alice@example.com`, nobody else does (RFC 3261 §10.3 step 4).
#[must_use]
pub fn owns(username: &str, aor: &AddressOfRecord) -> bool {
    match username.split_once('@') {
        Some((user, domain)) => user == aor.user() && domain.eq_ignore_ascii_case(aor.domain()),
        None => username == aor.user(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_not_understood_are_named() {
        let error = |text: &str| Users::parse(text).unwrap_err().to_string();
        assert_eq!(error("alice:x\n\nbob"), "line 3: expected `name:password`");
        assert_eq!(error(":x"), "line 1: the name before ':' is empty");
        assert_eq!(error("alice:"), "line 1: the password behind ':' is empty");
        assert_eq!(error("a b:x"), "line 1: the name holds white space");
        assert_eq!(error("# c\nalice:x\nalice:y"), "line 3: the user alice was defined above");
        assert!(Users::read("/nowhere/at/all").unwrap_err().to_string().contains("/nowhere/at/all"));
    }

    #[test]
    fn a_user_owns_one_address() {
        let aor = AddressOfRecord::new(&"sip:alice@example.com".parse().unwrap(), "example.com").unwrap();
        assert!(owns("alice", &aor) && owns("alice@Example.com", &aor));
        assert!(!owns("Alice", &aor) && !owns("alice@other.example", &aor) && !owns("bob", &aor));
        assert!(Users::parse("alice:x").unwrap().knows(&aor));
        assert!(Users::parse("alice@example.com:x").unwrap().knows(&aor));
        assert!(!Users::parse("alice@other.example:x").unwrap().knows(&aor));
    }
}
