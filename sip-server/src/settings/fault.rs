//! What is wrong with a file of settings, and where.

use std::fmt;

/// Faults told of one file: a file that is no settings at all must not fill the screen.
const MAX_FAULTS: usize = 100;

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// All that is wrong with a file of settings, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// The file; empty for a text without one.
    pub file: String,
    /// At least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if !self.file.is_empty() {
                write!(f, "{}:", self.file)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

/// Faults while a file is read, by their octet in the text.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(usize, String)>);

impl Faults {
    pub(super) fn add(&mut self, offset: usize, message: impl Into<String>) {
        self.0.push((offset, message.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// With lines and columns.
    pub(super) fn place(mut self, file: &str, text: &str) -> SettingsError {
        self.0.sort_by_key(|(offset, _)| *offset);
        self.0.dedup();
        let faults = self.0.into_iter().take(MAX_FAULTS).map(|(offset, message)| {
            let (line, column) = position(text, offset);
            Fault { line, column, message }
        });
        SettingsError { file: file.to_owned(), faults: faults.collect() }
    }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let before = text.get(..end).unwrap_or_default();
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    (line, column)
}

/// The known word that somebody may have meant: as a hint, or nothing.
pub(super) fn did_you_mean<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> String {
    let far = word.chars().count().checked_div(2).unwrap_or(0).clamp(1, 3);
    let nearest =
        known.into_iter().map(|one| (distance(word, one), one)).min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, one)) if distance <= far => format!("; did you mean \"{one}\"?"),
        _ => String::new(),
    }
}

/// How many characters have to be added, taken off or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    // Long words are no slip of the pen, and a file must not make us compute squares of its length.
    if one.len().max(other.len()) > 64 {
        return usize::MAX;
    }
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, a) in one.to_lowercase().chars().enumerate() {
        let mut before = line;
        let mut left = line.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(&other) {
            let change = before.saturating_add(usize::from(a != *b));
            before = *cell;
            left = change.min(before.saturating_add(1)).min(left.saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters() {
        assert_eq!(position("a\nüb\nc", 0), (1, 1));
        assert_eq!(position("a\nüb\nc", 4), (2, 2));
        assert_eq!(position("a\nüb\nc", 3), (2, 1), "within a character");
        assert_eq!(position("a\nb", 99), (2, 2));
    }

    #[test]
    fn near_words_are_meant() {
        assert_eq!(did_you_mean("domian", ["domains", "listen"]), "; did you mean \"domains\"?");
        assert_eq!(did_you_mean("xyz", ["domains", "listen"]), "");
        assert_eq!((distance("", "abc"), distance("kitten", "sitting"), distance("same", "Same")), (3, 3, 0));
    }
}
