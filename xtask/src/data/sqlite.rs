//! Reads whole tables of a `SQLite` file: enough for a `GeoPackage`, without linking a second `SQLite` into the workspace
//! (the lock file allows one `libsqlite3-sys`, and the server's comes with sqlx).
//!
//! Format: <https://www.sqlite.org/fileformat2.html>, sections 1.5 to 1.6 and 2.1. Rowid tables only; no indexes, no WAL.

use anyhow::{Context as _, Result, bail, ensure};

/// A value in a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL, and numbers, which no reader here needs.
    Other,
    /// A text.
    Text(String),
    /// A blob.
    Blob(Vec<u8>),
}

impl Value {
    /// The text, or an empty one.
    pub fn text(&self) -> &str {
        if let Value::Text(text) = self { text } else { "" }
    }
}

/// A `SQLite` file in memory.
pub struct Database {
    bytes: Vec<u8>,
    page_size: usize,
    usable: usize,
}

impl Database {
    /// Takes a file's bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self> {
        ensure!(bytes.starts_with(b"SQLite format 3\0") && bytes.len() >= 100, "not a SQLite file");
        let page_size = match usize::from(u16::from_be_bytes([bytes[16], bytes[17]])) {
            1 => 65_536,
            size => size,
        };
        let usable = page_size - usize::from(bytes[20]);
        Ok(Self { bytes, page_size, usable })
    }

    /// The named columns of every row of a table, in rowid order.
    pub fn table<const N: usize>(&self, name: &str, columns: [&str; N]) -> Result<Vec<[Value; N]>> {
        let mut schema = Vec::new();
        self.walk(1, &mut |record| {
            schema.push(record);
            Ok(())
        })?;
        let (root, sql) = schema
            .into_iter()
            .find_map(|record| {
                let values = fields(&record).ok()?;
                (values[0].1.text() == "table" && values[1].1.text() == name)
                    .then(|| (values[3].0, values[4].1.text().to_owned()))
            })
            .with_context(|| format!("no table {name}"))?;
        let list = sql.split_once('(').map_or("", |(_, rest)| rest);
        let names: Vec<&str> =
            list.split(',').map(|part| part.split_whitespace().next().unwrap_or("").trim_matches('"')).collect();
        let mut places = [0; N];
        for (place, column) in places.iter_mut().zip(columns) {
            *place = names.iter().position(|name| *name == column).with_context(|| format!("no column {name}.{column}"))?;
        }
        let mut rows = Vec::new();
        self.walk(root as usize, &mut |record| {
            let values = fields(&record)?;
            rows.push(places.map(|place| values.get(place).map_or(Value::Other, |(_, value)| value.clone())));
            Ok(())
        })?;
        Ok(rows)
    }

    /// Calls `each` with the record of every leaf cell below a page, in order.
    fn walk(&self, page: usize, each: &mut dyn FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
        let start = (page.checked_sub(1).context("page 0")?) * self.page_size;
        let bytes = self.bytes.get(start..start + self.page_size).with_context(|| format!("page {page} is missing"))?;
        let header = if page == 1 { 100 } else { 0 };
        let u16_at = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        let u32_at = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let cells = u16_at(header + 3);
        match bytes[header] {
            5 => {
                for cell in 0..cells {
                    self.walk(u32_at(u16_at(header + 12 + 2 * cell)), each)?;
                }
                self.walk(u32_at(header + 8), each)
            }
            13 => {
                for cell in 0..cells {
                    let mut at = u16_at(header + 8 + 2 * cell);
                    let size = varint(bytes, &mut at)? as usize;
                    varint(bytes, &mut at)?; // rowid
                    each(self.payload(bytes, at, size)?)?;
                }
                Ok(())
            }
            kind => bail!("page {page} is of kind {kind}, not of a table"),
        }
    }

    /// A payload of `size` bytes that begins at `at` in a leaf page and may go on in overflow pages.
    fn payload(&self, page: &[u8], at: usize, size: usize) -> Result<Vec<u8>> {
        let most = self.usable - 35;
        if size <= most {
            return Ok(page.get(at..at + size).context("a cell leaves its page")?.to_vec());
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let wanted = least + (size - least) % (self.usable - 4);
        let local = if wanted <= most { wanted } else { least };
        let mut payload = page.get(at..at + local + 4).context("a cell leaves its page")?.to_vec();
        let mut next = payload.split_off(local);
        while payload.len() < size {
            let number = u32::from_be_bytes([next[0], next[1], next[2], next[3]]) as usize;
            let start = number.checked_sub(1).context("an overflow chain ends early")? * self.page_size;
            let overflow = self.bytes.get(start..start + self.usable).context("an overflow page is missing")?;
            next = overflow[..4].to_vec();
            payload.extend_from_slice(&overflow[4..(4 + size - payload.len()).min(self.usable)]);
        }
        Ok(payload)
    }
}

/// A record's values, each with its number where it is an integer (else 0).
fn fields(record: &[u8]) -> Result<Vec<(i64, Value)>> {
    let mut at = 0;
    let header_end = varint(record, &mut at)? as usize;
    let mut body = header_end;
    let mut values = Vec::new();
    while at < header_end {
        let kind = varint(record, &mut at)?;
        let size = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind as usize,
            5 => 6,
            6 | 7 => 8,
            _ => (kind as usize).checked_sub(12).context("a reserved serial type")? / 2,
        };
        let bytes = record.get(body..body + size).context("a record is cut off")?;
        body += size;
        values.push(match kind {
            1..=6 => (bytes.iter().fold(0, |acc, byte| acc << 8 | i64::from(*byte)), Value::Other),
            9 => (1, Value::Other),
            0 | 7 | 8 => (0, Value::Other),
            _ if kind % 2 == 0 => (0, Value::Blob(bytes.to_vec())),
            _ => (0, Value::Text(String::from_utf8_lossy(bytes).into_owned())),
        });
    }
    Ok(values)
}

fn varint(bytes: &[u8], at: &mut usize) -> Result<u64> {
    let mut value = 0;
    for place in 0..9 {
        let byte = *bytes.get(*at).context("a varint is cut off")?;
        *at += 1;
        if place == 8 {
            return Ok(value << 8 | u64::from(byte));
        }
        value = value << 7 | u64::from(byte & 127);
        if byte < 128 {
            break;
        }
    }
    Ok(value)
}
