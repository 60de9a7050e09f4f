//! The OpenAI-compatible API as data: requests in, answers and errors out.
//! Knows JSON and nothing of sockets, sessions or the model.

mod error;
mod inert;
mod members;
mod message;
mod models;
mod request;
mod response;
mod sse;

pub use error::ApiError;
pub use message::{Message, Speaker};
pub(crate) use models::{model, model_list};
pub use request::{ChatRequest, Parameters, Served};
pub(crate) use response::{AnswerHead, TokenLogprob, TokenWord, Usage};
pub(crate) use sse::{DONE, event, receipt_event};
