//! What a page may be told when something fails. Causes go to the log, never here.

use leptos::server_fn::codec::JsonEncoding;
use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};
use serde::{Deserialize, Serialize};

/// Why a page cannot show what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AppError {
    /// Nothing here has that name, code or id.
    #[error("not found")]
    NotFound,
    /// The question itself is wrong, and how.
    #[error("{0}")]
    Invalid(String),
    /// The server cannot answer now; try again.
    #[error("unavailable")]
    Unavailable,
}

impl FromServerFnError for AppError {
    type Encoder = JsonEncoding;
    fn from_server_fn_error(error: ServerFnErrorErr) -> Self {
        match error {
            ServerFnErrorErr::Args(text) | ServerFnErrorErr::MissingArg(text) => AppError::Invalid(text),
            _ => AppError::Unavailable,
        }
    }
}
