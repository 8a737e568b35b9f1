//! Messages in a file of `SQLite`.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tokio::sync::oneshot;

use super::{Answering, MessageAnswer, MessageFileError, MessageQuestion, MessageStore, StoredMessage};
use crate::AddressOfRecord;
use crate::sqlite::open;

/// Questions that go to the disk together: under load one flush serves them all.
const AT_ONCE: usize = 512;

const QUERY: &str = "SELECT id, aor, expires, octets FROM messages LIMIT 0";

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    aor TEXT NOT NULL,
    expires INTEGER NOT NULL,
    octets BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_of_user ON messages (aor, id);
";

type Asked = (MessageQuestion, oneshot::Sender<MessageAnswer>);

/// A table `messages` in a file of `SQLite`, which is made if it is not there. What is answered with
/// [`Kept`](MessageAnswer::Kept) is on the disk: the end of the process and a power cut do not take it away.
///
/// A thread of its own has the file. It takes what has come meanwhile into one transaction, so that a burst costs one flush.
#[derive(Debug)]
pub struct SqliteMessages {
    questions: Sender<Asked>,
}

impl SqliteMessages {
    /// Opens the file.
    ///
    /// # Errors
    /// When it cannot be opened or made, is none of `SQLite`, or has another table of that name.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, MessageFileError> {
        let path = path.as_ref();
        let fault = |why: String| MessageFileError { path: path.display().to_string(), why };
        let connection = open(path, SCHEMA, QUERY).map_err(|error| fault(error.to_string()))?;
        let (questions, asked) = channel();
        std::thread::Builder::new()
            .name("messages".into())
            .spawn(move || work(connection, &asked))
            .map_err(|error| fault(error.to_string()))?;
        Ok(Self { questions })
    }
}

impl MessageStore for SqliteMessages {
    fn answer(&self, question: MessageQuestion) -> Answering {
        let (answer, answered) = oneshot::channel();
        // An error: the thread is gone, and with it who would answer.
        let _ = self.questions.send((question, answer));
        Box::pin(async move { answered.await.unwrap_or(MessageAnswer::Failed) })
    }
}

/// Until nobody asks any more.
fn work(mut connection: Connection, asked: &Receiver<Asked>) {
    while let Ok(first) = asked.recv() {
        let more = asked.try_iter().take(AT_ONCE.saturating_sub(1));
        let batch: Vec<Asked> = std::iter::once(first).chain(more).collect();
        let (questions, askers): (Vec<MessageQuestion>, Vec<_>) = batch.into_iter().unzip();
        let answers = together(&mut connection, &questions).unwrap_or_else(|error| {
            tracing::error!(%error, "messages were not kept");
            questions.iter().map(|_| MessageAnswer::Failed).collect()
        });
        for (asker, answer) in askers.into_iter().zip(answers) {
            // Who asked may have given up.
            let _ = asker.send(answer);
        }
    }
}

/// Nothing of it is told before all of it is on the disk.
fn together(
    connection: &mut Connection,
    questions: &[MessageQuestion],
) -> rusqlite::Result<Vec<MessageAnswer>> {
    let transaction = connection.transaction()?;
    let answers: rusqlite::Result<Vec<MessageAnswer>> =
        questions.iter().map(|question| answer(&transaction, question)).collect();
    let answers = answers?;
    transaction.commit()?;
    Ok(answers)
}

fn answer(transaction: &Transaction<'_>, question: &MessageQuestion) -> rusqlite::Result<MessageAnswer> {
    Ok(match question {
        MessageQuestion::Keep { message, limit } => {
            let count = "SELECT count(*) FROM messages WHERE aor = ?1";
            let has: i64 =
                transaction.prepare_cached(count)?.query_row([message.aor.as_str()], |row| row.get(0))?;
            if usize::try_from(has).unwrap_or(usize::MAX) >= *limit {
                return Ok(MessageAnswer::Full);
            }
            let insert = "INSERT INTO messages (aor, expires, octets) VALUES (?1, ?2, ?3)";
            let expires = i64::try_from(message.expires).unwrap_or(i64::MAX);
            let row = params![message.aor.as_str(), expires, &message.octets[..]];
            let id = transaction.prepare_cached(insert)?.insert(row)?;
            MessageAnswer::Kept(u64::try_from(id).unwrap_or(0))
        }
        MessageQuestion::Next { aor } => {
            let first = "SELECT id, expires, octets FROM messages WHERE aor = ?1 ORDER BY id LIMIT 1";
            let row = transaction.prepare_cached(first)?.query_row([aor.as_str()], |row| {
                let (id, expires): (i64, i64) = (row.get(0)?, row.get(1)?);
                let octets: Vec<u8> = row.get(2)?;
                Ok((id, expires, octets))
            });
            MessageAnswer::Next(row.optional()?.map(|(id, expires, octets)| StoredMessage {
                id: u64::try_from(id).unwrap_or(0),
                aor: aor.clone(),
                expires: u64::try_from(expires).unwrap_or(0),
                octets: octets.into(),
            }))
        }
        MessageQuestion::Remove { aor, id } => {
            let delete = "DELETE FROM messages WHERE id = ?1 AND aor = ?2";
            let id = i64::try_from(*id).unwrap_or(-1);
            transaction.prepare_cached(delete)?.execute(params![id, aor.as_str()])?;
            MessageAnswer::Removed
        }
        MessageQuestion::Holders => {
            let mut query = transaction.prepare_cached("SELECT DISTINCT aor FROM messages")?;
            let rows = query.query_map([], |row| row.get::<_, String>(0))?;
            let all: rusqlite::Result<Vec<String>> = rows.collect();
            let all = all?.iter().map(|aor| AddressOfRecord::from_canonical(aor)).collect();
            MessageAnswer::Holders(all)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aor(user: &str) -> AddressOfRecord {
        AddressOfRecord::from_canonical(&format!("{user}@example.com"))
    }

    fn keep(user: &str, text: &'static str) -> MessageQuestion {
        let message = StoredMessage { id: 0, aor: aor(user), expires: 9, octets: text.into() };
        MessageQuestion::Keep { message, limit: 2 }
    }

    #[tokio::test]
    async fn messages_stay_in_order_over_a_restart() {
        let folder = std::env::temp_dir().join(format!("sip-server-messages-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("messages.db");
        let store = SqliteMessages::open(&path).unwrap();
        let MessageAnswer::Kept(first) = store.answer(keep("bob", "1")).await else { panic!() };
        let MessageAnswer::Kept(second) = store.answer(keep("bob", "2")).await else { panic!() };
        assert!(second > first);
        assert_eq!(store.answer(keep("bob", "3")).await, MessageAnswer::Full);
        assert!(matches!(store.answer(keep("carol", "4")).await, MessageAnswer::Kept(_)));
        drop(store);

        let store = SqliteMessages::open(&path).unwrap();
        let holders = store.answer(MessageQuestion::Holders).await;
        assert_eq!(holders, MessageAnswer::Holders(vec![aor("bob"), aor("carol")]));
        let next = MessageQuestion::Next { aor: aor("bob") };
        for (id, text) in [(first, "1"), (second, "2")] {
            let MessageAnswer::Next(Some(message)) = store.answer(next.clone()).await else { panic!() };
            assert_eq!((message.id, &message.octets[..], message.expires), (id, text.as_bytes(), 9));
            // Somebody else's number does nothing.
            let others = MessageQuestion::Remove { aor: aor("carol"), id };
            assert_eq!(store.answer(others).await, MessageAnswer::Removed);
            let remove = MessageQuestion::Remove { aor: aor("bob"), id };
            assert_eq!(store.answer(remove).await, MessageAnswer::Removed);
        }
        assert_eq!(store.answer(next).await, MessageAnswer::Next(None));
        // Numbers are not used again: a late removal must not hit a newer message.
        let MessageAnswer::Kept(third) = store.answer(keep("bob", "5")).await else { panic!() };
        assert!(third > second);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        let folder = std::env::temp_dir().join(format!("sip-server-no-messages-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("letter.txt");
        std::fs::write(&path, "Dear Bob, this is no database, and longer than its head: ".repeat(20))
            .unwrap();
        let error = SqliteMessages::open(&path).unwrap_err();
        assert!(error.to_string().contains("letter.txt: file is not a database"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
