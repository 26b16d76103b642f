//! What a program did to files and sockets, read from what strace wrote.

use anyhow::{Context, bail, ensure};
use std::collections::HashMap;

/// A program has ended, and nothing of it goes on in the next.
pub const END: &str = "0 --- the end ---";

/// Something that changes what is on disk, or what a client was told.
#[derive(Clone, Debug)]
pub enum Op {
    /// A file or folder came to be.
    Create { path: String, is_dir: bool },
    /// Bytes were written.
    Write { path: String, offset: Offset, data: Vec<u8> },
    /// A file was cut or made longer.
    Truncate { path: String, len: u64 },
    /// A name moved.
    Rename { from: String, to: String },
    /// A name went.
    Unlink { path: String },
    /// The disk has a file, or the names in a folder, as they were when this was asked; `asked` is the index of the first operation after
    /// that.
    Sync { path: String, asked: usize },
    /// A client asked for this.
    Asked(Request),
    /// A client was told that what it asked for is done.
    Told(Request),
}

/// Where a write goes.
#[derive(Clone, Copy, Debug)]
pub enum Offset {
    /// There.
    At(u64),
    /// Behind everything.
    End,
}

/// What a client may ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// To take in the batch of that number.
    Batch(u64),
    /// To decide of the dead letter at that position.
    Decision(u64),
}

/// An open file: its path, how far it was written, and whether writes go to its end.
struct Open {
    path: String,
    offset: u64,
    appends: bool,
}

/// Reads a whole trace; paths outside of `root` do not count.
pub fn parse(text: &str, root: &str) -> anyhow::Result<Vec<Op>> {
    let mut reader = Reader { root: root.to_owned(), ..Reader::default() };
    for (number, line) in text.lines().enumerate() {
        reader.line(line).with_context(|| format!("line {}: {}", number + 1, &line[..line.len().min(200)]))?;
    }
    Ok(reader.ops)
}

#[derive(Default)]
struct Reader {
    root: String,
    ops: Vec<Op>,
    open: HashMap<i64, Open>,
    /// Calls that have begun and not ended, by thread: the text so far, and the operations at that time.
    begun: HashMap<u32, (String, usize)>,
    /// What was asked last on a connection.
    asked: HashMap<i64, Request>,
    /// Files that are there.
    known: std::collections::HashSet<String>,
}

impl Reader {
    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        if line == END {
            self.open.clear();
            self.begun.clear();
            self.asked.clear();
            return Ok(());
        }
        let (thread, rest) = line.split_once(' ').context("no thread")?;
        let thread: u32 = thread.parse().context("the thread")?;
        let rest = rest.trim_start();
        if rest.starts_with("---") || rest.starts_with("+++") {
            return Ok(());
        }
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            // A write may be on the disk from here on, and an answer with its client.
            let at = self.ops.len();
            if let Some(fd) = begun.strip_prefix("close(") {
                // Its number may be another file's before strace tells that the call has ended.
                self.close(fd.trim_end().trim_end_matches(')').parse().context("the file")?);
            }
            self.begun.insert(thread, (begun.to_owned(), at));
            return Ok(());
        }
        let (call, asked) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let (_, tail) = resumed.split_once("resumed>").context("no end of `resumed`")?;
                let (head, at) = self.begun.remove(&thread).unwrap_or_default();
                if head.starts_with("close(") {
                    return Ok(());
                }
                (format!("{head}{tail}"), at)
            }
            None => (rest.to_owned(), self.ops.len()),
        };
        self.call(&call, asked)
    }

    fn call(&mut self, call: &str, asked: usize) -> anyhow::Result<()> {
        let (name, rest) = call.split_once('(').context("no call")?;
        let (arguments, result) = rest.rsplit_once(" = ").context("no result")?;
        let result = result.split([' ', '<']).next().unwrap_or_default();
        let Ok(result) = result.parse::<i64>() else { return Ok(()) };
        if result < 0 {
            return Ok(());
        }
        let arguments = arguments.trim_end().strip_suffix(')').unwrap_or(arguments);
        let fd = || arguments.split(['<', ',']).next().unwrap_or_default().trim().parse::<i64>();
        match name {
            "openat" | "open" | "creat" => {
                let path = text(arguments).into_iter().next().context("no path")?;
                let path = String::from_utf8_lossy(&path).into_owned();
                let Some(path) = self.inside(&path) else {
                    self.open.remove(&result);
                    return Ok(());
                };
                let is_dir = arguments.contains("O_DIRECTORY");
                if arguments.contains("O_CREAT") && self.known.insert(path.clone()) {
                    self.ops.push(Op::Create { path: path.clone(), is_dir: false });
                }
                if arguments.contains("O_TRUNC") && !is_dir {
                    self.ops.push(Op::Truncate { path: path.clone(), len: 0 });
                }
                self.open.insert(result, Open { path, offset: 0, appends: arguments.contains("O_APPEND") });
            }
            "mkdir" | "mkdirat" => {
                let path = text(arguments).into_iter().next().context("no path")?;
                if let Some(path) = self.inside(&String::from_utf8_lossy(&path))
                    && self.known.insert(path.clone())
                {
                    self.ops.push(Op::Create { path, is_dir: true });
                }
            }
            "close" => self.close(fd()?),
            "write" | "pwrite64" => {
                let fd = fd()?;
                let Some(file) = self.open.get_mut(&fd) else {
                    self.socket(fd, arguments);
                    return Ok(());
                };
                let mut data = text(arguments).into_iter().next_back().context("no data")?;
                data.truncate(result as usize);
                let offset = if name == "pwrite64" {
                    Offset::At(arguments.rsplit(',').next().unwrap_or_default().trim().parse().context("the offset")?)
                } else if file.appends {
                    Offset::End
                } else {
                    file.offset += result as u64;
                    Offset::At(file.offset - result as u64)
                };
                let path = file.path.clone();
                self.ops.push(Op::Write { path, offset, data });
            }
            "lseek" => {
                if let Some(file) = self.open.get_mut(&fd()?) {
                    file.offset = result as u64;
                }
            }
            "ftruncate" => {
                if let Some(file) = self.open.get(&fd()?) {
                    let len = arguments.rsplit(',').next().unwrap_or_default().trim().parse().context("the length")?;
                    self.ops.push(Op::Truncate { path: file.path.clone(), len });
                }
            }
            "fsync" | "fdatasync" => {
                if let Some(file) = self.open.get(&fd()?) {
                    self.ops.push(Op::Sync { path: file.path.clone(), asked });
                }
            }
            "rename" | "renameat" | "renameat2" => {
                let names = text(arguments);
                let mut names = names.iter().map(|name| self.inside(&String::from_utf8_lossy(name)));
                if let (Some(Some(from)), Some(Some(to))) = (names.next(), names.next()) {
                    drop(names);
                    ensure!(folder(&from) == folder(&to), "a name moves to another folder, which no crash is made of");
                    self.known.remove(&from);
                    self.known.insert(to.clone());
                    self.open.values_mut().filter(|file| file.path == from).for_each(|file| file.path.clone_from(&to));
                    self.ops.push(Op::Rename { from, to });
                }
            }
            "unlink" | "unlinkat" => {
                let path = text(arguments).into_iter().next().context("no path")?;
                if let Some(path) = self.inside(&String::from_utf8_lossy(&path)) {
                    self.known.remove(&path);
                    self.ops.push(Op::Unlink { path });
                }
            }
            "sendto" | "writev" | "sendmsg" | "recvfrom" | "read" => {
                let fd = fd()?;
                if !self.open.contains_key(&fd) {
                    self.socket(fd, arguments);
                } else if name == "writev" {
                    bail!("a file is written by writev");
                }
            }
            "fallocate" | "copy_file_range" | "sendfile" if self.open.get(&fd()?).is_some_and(|file| is_told(&file.path)) => {
                bail!("a call that is not understood");
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, fd: i64) {
        self.open.remove(&fd);
        self.asked.remove(&fd);
    }

    /// What goes over a connection: a request, or its answer.
    fn socket(&mut self, fd: i64, arguments: &str) {
        let bytes = text(arguments).concat();
        if let Some(request) = request(&bytes) {
            self.ops.push(Op::Asked(request.clone()));
            self.asked.insert(fd, request);
        }
        if bytes.starts_with(b"HTTP/1.1 200")
            && let Some(request) = self.asked.remove(&fd)
        {
            self.ops.push(Op::Told(request));
        }
    }

    fn inside(&self, path: &str) -> Option<String> {
        path.strip_prefix(&self.root).map(|rest| rest.trim_matches('/').to_owned()).filter(|rest| is_told(rest))
    }
}

/// Whether the trace has to tell of the file at `path`: SQLite's memory that processes share is written by no call, and is nothing after a
/// crash; of what is kept for a full disk nothing is ever read.
pub fn is_told(path: &str) -> bool {
    !path.ends_with("-shm") && path != "ballast"
}

/// The folder that holds `path`; that of the data directory itself has no name, and lies in itself.
pub fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn number_after(bytes: &[u8], mark: &str) -> Option<u64> {
    let at = bytes.windows(mark.len()).position(|window| window == mark.as_bytes())? + mark.len();
    let digits: String = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
    digits.parse().ok()
}

/// The request that begins or goes on in `bytes`.
fn request(bytes: &[u8]) -> Option<Request> {
    if bytes.starts_with(b"POST /api/v1/dead-letters/") {
        return number_after(bytes, "/dead-letters/").map(Request::Decision);
    }
    number_after(bytes, "\"event_id\":\"b-").map(Request::Batch)
}

/// The texts in quotes, as bytes; strace writes every byte as `\x..`.
fn text(arguments: &str) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    for (index, part) in arguments.split('"').enumerate() {
        if index % 2 == 1 {
            let digits = part.as_bytes();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or("0"), 16).unwrap_or(0);
            texts.push(digits.chunks_exact(4).map(|four| byte(&four[2..])).collect());
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As strace writes it.
    fn hex(text: &str) -> String {
        text.bytes().fold(String::new(), |hex, byte| hex + &format!("\\x{byte:02x}"))
    }

    #[test]
    fn a_number_is_another_file_s_while_its_close_goes_on() {
        let open =
            |name: &str| format!("openat(AT_FDCWD, \"{}\", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 7", hex(&format!("/data/{name}")));
        let trace = [
            format!("1 {}", open("old")),
            "1 close(7 <unfinished ...>".to_owned(),
            format!("2 {}", open("new")),
            "1 <... close resumed>) = 0".to_owned(),
            format!("2 write(7, \"{}\", 4) = 4", hex("kept")),
            "2 close(7) = 0".to_owned(),
            format!("2 write(7, \"{}\", 4) = 4", hex("gone")),
        ];
        let written: Vec<(String, Vec<u8>)> = parse(&trace.join("\n"), "/data")
            .expect("a trace")
            .into_iter()
            .filter_map(|op| if let Op::Write { path, data, .. } = op { Some((path, data)) } else { None })
            .collect();
        assert_eq!(written, [("new".to_owned(), b"kept".to_vec())]);
    }
}
