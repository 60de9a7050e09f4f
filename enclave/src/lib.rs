//! The `bastide-enclave` command: serves a language model inside a
//! confidential VM, over TLS sessions that are bound to hardware evidence.
//!
//! | part | what it owns |
//! |---|---|
//! | `args`, `error`, `ready` | the command's surface: flags, refusals to start, the ready line |
//! | `startup`, `drain`, `attesting` | the way up, the way down, where evidence comes from |
//! | `tls_files` | a certificate of a public authority and its key, if the operator has one |
//! | `endorsing` | what AMD says of the chip: a directory, and AMD's key server if told so |
//! | `server` | connections, their states and deadlines, paths |
//! | `api` | OpenAI's requests, answers and errors as data |
//! | `inference`, `model` | generations on threads of their own |
//! | `pipeline` | this enclave as one stage of a model that several compute |
//! | `capacity` | what this machine can compute |
//! | `gpus` | evidence of the machine's GPUs: at boot, every minute, after every change |
//! | `identity`, `receipts` | this boot's keys; a signed receipt for every answer |
//! | `sealed` | keys of sealed mode, and which requests came before |
//! | `configuration` | the digest of everything that an operator can set |
//! | `telemetry`, `metrics`, `hardening` | what may leave, and what the process gives up |
//!
//! Invariants of this crate:
//! - nothing under `/v1/` is answered on a connection that is not attested;
//! - no answer ends as whole without a receipt over its exact bytes;
//! - no content of a request or an answer is in an error, a log or a metric:
//!   logs are an allow-list, errors are made of our own words;
//! - everything a peer can send, hold or wait for has a limit;
//! - keys are made in memory at start and written nowhere; that of a certificate
//!   which an authority issued is read once.
#![forbid(unsafe_code)]

pub mod admission;
pub mod api;
pub mod args;
pub mod attesting;
mod bounded_file;
mod capacity;
mod clock;
pub mod configuration;
pub mod drain;
pub mod endorsing;
pub mod error;
pub mod gpus;
pub mod hardening;
pub mod identity;
mod inference;
mod json;
mod metrics;
pub mod model;
pub mod pipeline;
pub mod ready;
mod receipts;
mod sealed;
mod server;
pub mod startup;
pub mod telemetry;
pub mod tls_files;

pub use server::Limits;
