//! The machines on sockets and threads. It is thin: what is decided, the
//! machines decide.
//!
//! Owns tasks, threads, queues and clocks. Refuses links of whoever may not
//! link here; a queue that is full holds up who fills it, or ends that link.
//! Logs name codes and stages, never what a message holds.
//!
//! | module | owns |
//! |---|---|
//! | `transport` | opening, accepting and telling links apart |
//! | `plain` | links that prove nothing, for a benchmark; not compiled in by default |
//! | `cable` | a link at work |
//! | `worker` | the thread that computes a stage |
//! | `stage_node` | a stage's handle, and who may come in |
//! | `supervisor` | which links a stage has |
//! | `inlet`, `live_head` | what a head says, and whether it is alive |
//! | `drafting` | the thread that drafts |
//! | `head_node`, `head_task` | the head's handle, and the task that owns its machine |

/// One event of the enclave's log: level, constant name, then fields that its
/// allow-list lets out (`stage`, `code`). Never what a message holds.
macro_rules! ops {
    ($level:ident, $name:literal $(, $field:ident = $value:expr)* $(,)?) => {
        ::tracing::event!(
            name: $name,
            target: "bastide::ops",
            ::tracing::Level::$level,
            ops = true,
            $($field = $value,)*
        )
    };
}

mod cable;
mod drafting;
mod head_node;
mod head_task;
mod inlet;
mod live_head;
#[cfg(feature = "plain-transport")]
mod plain;
mod stage_node;
mod supervisor;
mod transport;
mod worker;

pub use head_node::{Answer, Ask, HeadEnded, HeadUpdate, PipelineHead, StopCheck};
pub use live_head::SILENT_HEAD;
pub use stage_node::{AttestStage, Attesting, HANDSHAKES, StageLinks, StageNode, StageState};
pub use transport::Connector;
