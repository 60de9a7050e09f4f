//! The tasks that move one connection's bytes. They end by themselves when
//! nobody needs the connection any more; or at once, when it must be closed
//! whatever is on it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;

/// An executor for one connection's tasks. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Mutex<Running>>);

#[derive(Default)]
struct Running {
    tasks: Vec<AbortHandle>,
    aborted: bool,
}

impl Tasks {
    /// Ends all tasks, and those that come later.
    pub(crate) fn abort(&self) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.aborted = true;
        for task in running.tasks.drain(..) {
            task.abort();
        }
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let task = tokio::spawn(future).abort_handle();
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.aborted {
            task.abort();
            return;
        }
        // As many as there are requests at once, and no more.
        running.tasks.retain(|task| !task.is_finished());
        running.tasks.push(task);
    }
}
