//! Where the store is: `sqlite`, or the URL of a Postgres database, whose password is never shown.

use std::fmt;
use std::str::FromStr;

/// Where the store is.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum StoreAddress {
    /// SQLite in the data directory.
    #[default]
    Sqlite,
    /// Postgres, by its URL.
    Postgres(String),
}

/// What is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `sqlite`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`")]
pub struct AddressError;

impl FromStr for StoreAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let is_postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
        match text {
            "sqlite" => Ok(StoreAddress::Sqlite),
            // Checked here, where the error is ours: a parser's own might repeat the password.
            url if is_postgres && url.parse::<sqlx::postgres::PgConnectOptions>().is_ok() => {
                Ok(StoreAddress::Postgres(url.to_owned()))
            }
            _ => Err(AddressError),
        }
    }
}

impl<'de> serde::Deserialize<'de> for StoreAddress {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StoreAddress::Postgres(url) = self else { return f.write_str("sqlite") };
        let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
        let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        // What follows `?` may name a password too.
        write!(f, "{scheme}://{}", rest.split('?').next().unwrap_or_default())
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, shown: Option<&str>| {
            let address = text.parse::<StoreAddress>();
            assert_eq!(address.as_ref().ok().map(|a| format!("{a} {a:?}")), shown.map(|s| format!("{s} {s}")), "{text}");
            if let Err(error) = address {
                assert!(!error.to_string().contains("secret"));
            }
        };
        check("sqlite", Some("sqlite"));
        check("postgres://me:secret@db.example:5433/rantai", Some("postgres://db.example:5433/rantai"));
        check("postgres://me:sec%40ret@db/rantai?password=secret", Some("postgres://db/rantai"));
        check("postgresql://db/rantai?sslmode=require", Some("postgresql://db/rantai"));
        check("postgres://me:secret@db:port/rantai", None);
        check("mysql://me:secret@db/rantai", None);
        check("", None);
    }
}
