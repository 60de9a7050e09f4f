//! Sessions: each asks one question after the other, compares what comes, and
//! asks again where nothing came.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::questions::{Question, Refusals};
use crate::load::Stop;

/// Before a question is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// Wrong answers and unknown refusals that are shown.
const SHOWN: usize = 10;

/// What came of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answers that are those of one node.
    pub(crate) right: AtomicU64,
    /// Answers that are not.
    pub(crate) wrong: AtomicU64,
    /// Tokens of right answers.
    pub(crate) tokens: AtomicU64,
    /// Milliseconds of the slowest right answer, attempts that failed included.
    pub(crate) slowest: AtomicU64,
    /// Why there was no answer. Each was asked for again.
    pub(crate) refusals: Mutex<Refusals>,
    /// What a person should see.
    pub(crate) notes: Mutex<Vec<String>>,
}

impl Tally {
    fn note(&self, note: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < SHOWN {
            notes.push(note);
        }
    }

    /// Times that there was no answer.
    pub(crate) fn refused(&self) -> Refusals {
        self.refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Numbers that look random, and are the same for the same seed: xorshift64*.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// One of `0..below`.
    pub(crate) const fn throw(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        (drawn % below as u64) as usize
    }
}

/// Asks until told to stop. Ends with an answer, or where there is none.
pub(crate) fn session(
    mut dice: Dice,
    proxy: String,
    questions: Arc<Vec<Question>>,
    tally: Arc<Tally>,
    stop: Stop,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let question = &questions[dice.throw(questions.len())];
            one(question, dice.throw(2) == 0, &proxy, &tally, &stop);
        }
    })
}

fn one(question: &Question, stream: bool, proxy: &str, tally: &Tally, stop: &Stop) {
    let began = Instant::now();
    loop {
        match question.ask(proxy, stream) {
            Ok(said) if Some(&said) == question.expected.as_ref() => {
                tally.right.fetch_add(1, Ordering::Relaxed);
                tally
                    .tokens
                    .fetch_add(said.tokens.len() as u64, Ordering::Relaxed);
                let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                tally.slowest.fetch_max(took, Ordering::Relaxed);
                return;
            }
            Ok(said) => {
                tally.wrong.fetch_add(1, Ordering::Relaxed);
                tally.note(format!("WRONG: {question:?}\n  got {said:?}"));
                return;
            }
            Err(refused) => {
                let mut refusals = tally.refusals.lock().unwrap_or_else(PoisonError::into_inner);
                let count = refusals.entry(refused.code.clone()).or_default();
                *count += 1;
                if *count == 1 {
                    tally.note(format!("{}: {}", refused.code, refused.message));
                }
            }
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn dice_show_every_side_and_the_same_for_the_same_seed() {
        let thrown = |seed| {
            let mut dice = Dice::new(seed);
            (0..64).map(|_| dice.throw(3)).collect::<Vec<_>>()
        };
        assert_eq!(thrown(1), thrown(1));
        assert_ne!(thrown(1), thrown(2));
        assert!((0..3).all(|side| thrown(1).contains(&side)));
    }
}
