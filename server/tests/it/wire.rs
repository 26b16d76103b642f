//! A wire between the program and Postgres, that understands what the program says: it can be cut before or behind a message, and what
//! Postgres answers can be held back.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// What becomes of a message to Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Passes,
    /// Postgres never gets it: the connection is cut.
    CutBefore,
    /// Postgres has it and answers; of that nobody hears.
    CutBehind,
}

/// What the program says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A message, once it is agreed who talks.
    Message,
    /// `commit` of a transaction that moves the input position.
    Checkpoint,
}

type Judge = Box<dyn FnMut(Said) -> Fate + Send>;

struct State {
    judge: Judge,
    is_held: bool,
    /// How often an answer had to wait.
    waited: u64,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The wire.
pub struct Wire {
    shared: Arc<Shared>,
    /// Where the program finds its database.
    pub url: String,
}

impl Wire {
    /// To the database at `url`.
    pub fn new(url: &str) -> Self {
        let (user, rest) = url.strip_prefix("postgres://").and_then(|rest| rest.split_once('@')).expect("with a user");
        let (to, database) = rest.split_once('/').expect("with a database");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = State { judge: Box::new(|_| Fate::Passes), is_held: false, waited: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let (to, own) = (to.to_owned(), Arc::clone(&shared));
        std::thread::spawn(move || {
            for program in listener.incoming().map_while(Result::ok) {
                let postgres = TcpStream::connect(&to).expect("the Postgres of the checks runs");
                let both = || (program.try_clone().expect("a socket"), postgres.try_clone().expect("a socket"));
                let (questions, answers) = (both(), both());
                let is_cut = Arc::new(Mutex::new(false));
                let (shared, cut) = (Arc::clone(&own), Arc::clone(&is_cut));
                std::thread::spawn(move || ask(questions.0, questions.1, &shared, &cut));
                let shared = Arc::clone(&own);
                std::thread::spawn(move || answer(answers.1, answers.0, &shared, &is_cut));
            }
        });
        Self { shared, url: format!("postgres://{user}@{address}/{database}") }
    }

    /// From now on `judge` says what becomes of messages.
    pub fn judge(&self, judge: impl FnMut(Said) -> Fate + Send + 'static) {
        self.shared.state.lock().expect("no panic").judge = Box::new(judge);
    }

    /// Holds back what Postgres answers, or lets it go.
    pub fn hold(&self, is_held: bool) {
        self.shared.state.lock().expect("no panic").is_held = is_held;
        self.shared.changed.notify_all();
    }

    /// How often an answer had to wait.
    pub fn waited(&self) -> u64 {
        self.shared.state.lock().expect("no panic").waited
    }
}

/// The length that a message begins with, which counts itself.
fn length(from: &mut TcpStream) -> Option<(usize, [u8; 4])> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes).ok()?;
    Some((u32::from_be_bytes(bytes) as usize, bytes))
}

/// Hands on what the program says, message by message.
fn ask(mut program: TcpStream, mut postgres: TcpStream, shared: &Shared, is_cut: &Mutex<bool>) -> Option<()> {
    let cut = |program: &TcpStream, postgres: &TcpStream| {
        let _ = (program.shutdown(Shutdown::Both), postgres.shutdown(Shutdown::Both));
    };
    let mut has_begun = false;
    let mut moves = HashSet::new();
    let mut is_checkpoint = false;
    loop {
        let mut message = Vec::new();
        let mut kind = [0];
        // The first messages have no type (https://www.postgresql.org/docs/15/protocol-message-formats.html): whether there is TLS, and who it is.
        if has_begun && program.read_exact(&mut kind).is_ok() {
            message.extend_from_slice(&kind);
        }
        let Some((len, bytes)) = length(&mut program) else {
            cut(&program, &postgres);
            return None;
        };
        message.extend_from_slice(&bytes);
        let body = message.len();
        message.resize(body + len - 4, 0);
        if program.read_exact(&mut message[body..]).is_err() {
            cut(&program, &postgres);
            return None;
        }
        let content = &message[body..];
        let mut fate = Fate::Passes;
        if has_begun {
            // Statements are sent once and then known by a name.
            let name = content.split(|byte| *byte == 0).nth(usize::from(kind[0] == b'B')).unwrap_or_default().to_vec();
            let has = |words: &[u8]| content.windows(words.len()).any(|part| part.eq_ignore_ascii_case(words));
            match kind[0] {
                b'P' if has(b"update input_position set next") => drop(moves.insert(name)),
                b'B' if moves.contains(&name) => is_checkpoint = true,
                _ => {}
            }
            let mut state = shared.state.lock().expect("no panic");
            fate = (state.judge)(Said::Message);
            if kind[0] == b'Q' && has(b"commit") && std::mem::take(&mut is_checkpoint) && fate == Fate::Passes {
                fate = (state.judge)(Said::Checkpoint);
            }
        } else {
            has_begun = content.starts_with(&196_608u32.to_be_bytes());
        }
        if fate == Fate::CutBefore {
            cut(&program, &postgres);
            return None;
        }
        let is_last = fate == Fate::CutBehind;
        *is_cut.lock().expect("no panic") = is_last;
        postgres.write_all(&message).ok()?;
        if is_last {
            // Postgres reads that nothing more comes once it is done with the message. Were its answer refused, a notice before the end of
            // the message would end it half way.
            let _ = postgres.shutdown(Shutdown::Write);
            return None;
        }
    }
}

/// Hands on what Postgres answers.
fn answer(mut postgres: TcpStream, mut program: TcpStream, shared: &Shared, is_cut: &Mutex<bool>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = postgres.read(&mut buffer) {
        if *is_cut.lock().expect("no panic") {
            continue;
        }
        let mut state = shared.state.lock().expect("no panic");
        state.waited += u64::from(state.is_held);
        let state = shared.changed.wait_while(state, |state| state.is_held).expect("no panic");
        drop(state);
        if program.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (program.shutdown(Shutdown::Both), postgres.shutdown(Shutdown::Both));
}
