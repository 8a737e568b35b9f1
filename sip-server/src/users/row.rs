//! What a database says of a user: columns by their names, in whatever order a query gives them.

use sip_auth::{Hash, HexDigest, Secret};

use super::UserStoreError;

/// Where the columns of a query are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) password: Option<usize>,
    pub(super) ha1: Option<usize>,
    pub(super) ha1_sha256: Option<usize>,
}

impl Columns {
    /// Finds them among the names of a query's columns, of which others may be there.
    pub(super) fn find<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, UserStoreError> {
        let mut columns = Self::default();
        for (at, name) in names.enumerate() {
            match name {
                "password" => columns.password = Some(at),
                "ha1" => columns.ha1 = Some(at),
                "ha1_sha256" => columns.ha1_sha256 = Some(at),
                _ => {}
            }
        }
        if columns == Self::default() {
            let why = "the query gives none of the columns password, ha1 and ha1_sha256";
            return Err(UserStoreError(why.into()));
        }
        Ok(columns)
    }
}

/// The secret of a row. A user without any of them cannot prove himself.
pub(super) fn secret(
    password: Option<String>,
    md5: Option<String>,
    sha256: Option<String>,
) -> Option<Secret> {
    if let Some(password) = password.filter(|password| !password.is_empty()) {
        return Some(Secret::password(password));
    }
    let hash = |hash, text: Option<String>| Some((hash, HexDigest::parse(hash, text?.trim_end())?));
    let mut hashes = [hash(Hash::Md5, md5), hash(Hash::Sha256, sha256)].into_iter().flatten();
    let (first, ha1) = hashes.next()?;
    Some(hashes.fold(Secret::ha1(first, ha1), |secret, (hash, ha1)| secret.and_ha1(hash, ha1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_names_and_any_order() {
        let found = Columns::find(["ha1", "email", "password"].into_iter()).unwrap();
        assert_eq!(found, Columns { password: Some(2), ha1: Some(0), ha1_sha256: None });
        let error = Columns::find(["name"].into_iter()).unwrap_err().to_string();
        assert!(error.contains("none of the columns password, ha1"), "{error}");
    }

    #[test]
    fn a_password_counts_before_a_hash_and_nothing_is_no_secret() {
        let md5 = "37593d991414f52c30246c60c7798431";
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(secret(text("x"), text(md5), None), Some(Secret::password("x")));
        let ha1 = HexDigest::parse(Hash::Md5, md5).unwrap();
        // As CHAR(64) of a database fills it.
        assert_eq!(secret(text(""), text(&format!("{md5}  ")), None), Some(Secret::ha1(Hash::Md5, ha1)));
        assert_eq!(secret(None, text("no hash"), text("")), None);
    }
}
