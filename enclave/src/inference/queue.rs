//! What waits to be computed: a fixed number of jobs, taken from one client
//! after the other, so that many jobs of one don't hold up the one of another.
//! Knows nothing of what a job is.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;

use crate::admission::Share;

/// A queue that deals out in turn.
pub(super) struct Queue<J> {
    room: usize,
    /// How many wait. Set under the lock, so that the latest is what it shows.
    waiting: Gauge,
    state: Mutex<State<J>>,
    arrived: Condvar,
}

struct State<J> {
    /// Clients with something waiting, in the order of their turns.
    turns: VecDeque<Share>,
    jobs: HashMap<Share, VecDeque<J>>,
    waiting: usize,
    closed: bool,
}

impl<J> core::fmt::Debug for Queue<J> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // A job is a user's: its number is all that is shown.
        write!(f, "Queue({} of {})", self.lock().waiting, self.room)
    }
}

impl<J> Queue<J> {
    /// An empty queue with room for `room` jobs, which shows in `waiting` how
    /// many there are.
    pub(super) fn new(room: usize, waiting: Gauge) -> Self {
        Self {
            room,
            waiting,
            state: Mutex::new(State {
                turns: VecDeque::new(),
                jobs: HashMap::new(),
                waiting: 0,
                closed: false,
            }),
            arrived: Condvar::new(),
        }
    }

    /// Adds a job at the end of its client's. If there is no room, jobs that
    /// nobody waits for any more go, and if there are none, the latest job of
    /// the client with most, unless this one's would then have as many. Gives
    /// the job that had to make room, if one had to.
    ///
    /// # Errors
    /// The job itself, if there is no room.
    pub(super) fn push(
        &self,
        share: Share,
        job: J,
        is_abandoned: impl Fn(&J) -> bool,
    ) -> Result<Option<J>, J> {
        let mut state = self.lock();
        if state.waiting >= self.room {
            state.forget(is_abandoned);
        }
        let mut displaced = None;
        if state.waiting >= self.room {
            displaced = state.displace(share);
        }
        let outcome = if state.closed || state.waiting >= self.room {
            Err(job)
        } else {
            state.add(share, job);
            self.arrived.notify_one();
            Ok(displaced)
        };
        self.waiting.set(state.count());
        outcome
    }

    /// The next job; waits for one. `None` once the queue is closed: what waits
    /// then is dropped.
    pub(super) fn pop(&self) -> Option<J> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.take() {
                self.waiting.set(state.count());
                return Some(job);
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends it.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.turns.clear();
        state.jobs.clear();
        state.waiting = 0;
        self.waiting.set(0);
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        // Nothing that is done under it panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> State<J> {
    fn count(&self) -> i64 {
        i64::try_from(self.waiting).unwrap_or(i64::MAX)
    }

    fn add(&mut self, share: Share, job: J) {
        let own = self.jobs.entry(share).or_default();
        if own.is_empty() {
            self.turns.push_back(share);
        }
        own.push_back(job);
        self.waiting += 1;
    }

    fn take(&mut self) -> Option<J> {
        let share = self.turns.pop_front()?;
        let own = self.jobs.get_mut(&share)?;
        let job = own.pop_front()?;
        self.waiting -= 1;
        if own.is_empty() {
            self.jobs.remove(&share);
        } else {
            self.turns.push_back(share);
        }
        Some(job)
    }

    fn forget(&mut self, is_abandoned: impl Fn(&J) -> bool) {
        self.jobs.retain(|_, own| {
            own.retain(|job| !is_abandoned(job));
            !own.is_empty()
        });
        self.turns.retain(|share| self.jobs.contains_key(share));
        self.waiting = self.jobs.values().map(VecDeque::len).sum();
    }

    /// Takes the latest job of the client with most, if that leaves it no
    /// fewer than `newcomer` will have.
    fn displace(&mut self, newcomer: Share) -> Option<J> {
        let own = self.jobs.get(&newcomer).map_or(0, VecDeque::len);
        let (share, most) = self
            .jobs
            .iter()
            .map(|(share, jobs)| (*share, jobs.len()))
            .max_by_key(|(_, count)| *count)?;
        if most < own + 2 {
            return None;
        }
        let job = self.jobs.get_mut(&share)?.pop_back()?;
        self.waiting -= 1;
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::{Gauge, Queue, Share};
    use proptest::prelude::*;

    fn share(number: u64) -> Share {
        Share::Connection(number)
    }

    fn push(queue: &Queue<(u64, u32)>, client: u64, job: u32) -> Result<Option<(u64, u32)>, (u64, u32)> {
        queue.push(share(client), (client, job), |_| false)
    }

    fn drain(queue: &Queue<(u64, u32)>) -> Vec<(u64, u32)> {
        let waiting = queue.lock().waiting;
        (0..waiting).map(|_| queue.pop().unwrap()).collect()
    }

    #[test]
    fn clients_take_turns_and_each_ones_jobs_keep_their_order() {
        let queue = Queue::new(16, Gauge::default());
        for job in 0..4 {
            push(&queue, 1, job).unwrap();
        }
        push(&queue, 2, 0).unwrap();
        push(&queue, 3, 0).unwrap();
        push(&queue, 2, 1).unwrap();
        assert_eq!(
            drain(&queue),
            [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2), (1, 3)]
        );
    }

    #[test]
    fn who_fills_the_queue_makes_room_for_who_has_less() {
        let queue = Queue::new(4, Gauge::default());
        for job in 0..4 {
            push(&queue, 1, job).unwrap();
        }
        assert_eq!(push(&queue, 1, 4), Err((1, 4)), "not for itself");
        assert_eq!(push(&queue, 2, 0), Ok(Some((1, 3))));
        assert_eq!(push(&queue, 2, 1), Ok(Some((1, 2))));
        assert_eq!(push(&queue, 2, 2), Err((2, 2)), "both have as much");
        assert!(matches!(push(&queue, 3, 0), Ok(Some(_))), "it has none");
        assert_eq!(drain(&queue).len(), 4);
    }

    #[test]
    fn jobs_that_nobody_waits_for_make_room_first() {
        let queue = Queue::new(2, Gauge::default());
        push(&queue, 1, 0).unwrap();
        push(&queue, 1, 1).unwrap();
        let pushed = queue.push(share(1), (1, 2), |job| job.1 == 0);
        assert_eq!((pushed, queue.waiting.get()), (Ok(None), 2));
        assert_eq!(drain(&queue), [(1, 1), (1, 2)]);
    }

    #[test]
    fn closing_wakes_who_waits_and_drops_what_waits() {
        let queue = std::sync::Arc::new(Queue::new(2, Gauge::default()));
        let waiter = std::thread::spawn({
            let queue = std::sync::Arc::clone(&queue);
            move || queue.pop()
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        queue.close();
        assert_eq!(waiter.join().unwrap(), None);
        assert_eq!(push(&queue, 1, 0), Err((1, 0)));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_client_waits_longer_than_a_round(
            room in 1_usize..20, arrivals in prop::collection::vec(0_u64..5, 0..80)
        ) {
            let queue = Queue::new(room, Gauge::default());
            let (mut inside, mut outside) = (0_usize, 0_usize);
            for (job, client) in arrivals.iter().enumerate() {
                match push(&queue, *client, u32::try_from(job).unwrap()) {
                    Ok(None) => inside += 1,
                    Ok(Some(_)) | Err(_) => outside += 1,
                }
                prop_assert!(queue.lock().waiting <= room);
            }
            let waiting: Vec<(u64, usize)> = (0..5)
                .map(|client| (client, queue.lock().jobs.get(&share(client)).map_or(0, |own| own.len())))
                .collect();
            let clients = waiting.iter().filter(|(_, count)| *count > 0).count();
            let order = drain(&queue);
            prop_assert_eq!(order.len(), inside);
            prop_assert_eq!(inside + outside, arrivals.len());
            for (client, count) in waiting.into_iter().filter(|(_, count)| *count > 0) {
                prop_assert!(order[..clients].iter().any(|(who, _)| *who == client));
                prop_assert_eq!(order.iter().filter(|(who, _)| *who == client).count(), count);
            }
        }
    }
}
