//! Opening one connection where several nodes would do: the next node is tried
//! when the one before failed or has not proved itself after a moment. The
//! first that is attested wins; the others are closed.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use super::{Inner, NodeFailure};
use crate::client::connection::AttestedConnection;
use crate::client::error::ConnectError;

type Outcome = (usize, Result<AttestedConnection, ConnectError>);

impl Inner {
    /// # Errors
    /// Why each node failed.
    pub(super) async fn race(self: &Arc<Self>) -> Result<AttestedConnection, Vec<NodeFailure>> {
        let mut queue = order(&self.held().failed, Instant::now(), self.limits.set_back).into_iter();
        // Dropping the set ends what is still under way in it.
        let mut running: JoinSet<Outcome> = JoinSet::new();
        let mut failures = Vec::new();
        loop {
            let waiting = match queue.next() {
                Some(at) => {
                    if let Some(node) = self.nodes.get(at) {
                        let (connector, node) = (self.connector.clone(), node.clone());
                        running.spawn(async move { (at, connector.connect(&node).await) });
                    }
                    queue.len() > 0
                }
                None => false,
            };
            let ended = tokio::select! {
                biased;
                ended = running.join_next() => ended,
                () = sleep(self.limits.stagger), if waiting => continue,
            };
            match ended {
                Some(Ok((at, Ok(connection)))) => {
                    self.set_failed(at, None);
                    if let Some(observer) = &self.observer {
                        observer.admitted(&connection);
                    }
                    return Ok(connection);
                }
                Some(Ok((at, Err(error)))) => {
                    self.set_failed(at, Some(Instant::now()));
                    let Some(node) = self.nodes.get(at).cloned() else {
                        continue;
                    };
                    if let Some(observer) = &self.observer {
                        observer.failed(&node, &error);
                    }
                    failures.push(NodeFailure { node, error });
                }
                // Nothing of ours panics or is cancelled; another node may do.
                Some(Err(_)) => {}
                None if queue.len() == 0 => return Err(failures),
                None => {}
            }
        }
    }

    fn set_failed(&self, at: usize, when: Option<Instant>) {
        if let Some(failed) = self.held().failed.get_mut(at) {
            *failed = when;
        }
    }
}

/// Nodes as they were named; those that failed a moment ago after the others. A
/// dead one must not cost its time-out on every request.
fn order(failed: &[Option<Instant>], now: Instant, set_back: Duration) -> Vec<usize> {
    let recently = |at: &usize| {
        let failed = failed.get(*at).copied().flatten();
        failed.is_some_and(|failed| now.duration_since(failed) < set_back)
    };
    let (last, mut first): (Vec<_>, Vec<_>) = (0..failed.len()).partition(recently);
    first.extend(last);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_node_goes_behind_the_others_for_a_while_and_is_never_left_out() {
        let (now, set_back) = (Instant::now(), Duration::from_secs(10));
        let mut failed = vec![None; 3];
        assert_eq!(order(&failed, now, set_back), [0, 1, 2]);
        failed[0] = Some(now);
        assert_eq!(order(&failed, now, set_back), [1, 2, 0]);
        failed[1] = Some(now);
        failed[2] = Some(now);
        assert_eq!(order(&failed, now, set_back), [0, 1, 2]);
        assert_eq!(order(&failed[..1], now + set_back, set_back), [0]);
    }
}
