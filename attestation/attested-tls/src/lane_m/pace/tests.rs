//! The pacer against a security processor with a bucket, in virtual time.

use super::*;
use crate::lane_m::epoch::MAX_LEAVES;

const MS: Duration = Duration::from_millis(1);
const REPORT: Duration = Duration::from_millis(8);

/// Ten reports in ten seconds; every report beyond stalls 10.2 s.
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    const fn full() -> Self {
        Self {
            tokens: 10.0,
            at: Duration::ZERO,
        }
    }

    /// How long a report that begins at `now` takes.
    fn report(&mut self, now: Duration) -> Duration {
        self.tokens = 10.0_f64.min(self.tokens + (now - self.at).as_secs_f64());
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return REPORT;
        }
        Duration::from_millis(10_200)
    }
}

/// Sessions at 10,000 a second from `begin` for `length`, in groups that come
/// together; the wait that each group had. The rule is the lane's: when a report
/// has ended and the pace allows, as many as wait and fit share the next one.
fn offered(
    pacer: &mut Pacer,
    processor: &mut impl FnMut(Duration) -> Duration,
    begin: Duration,
    length: Duration,
    every: Duration,
) -> Vec<Duration> {
    let groups = u32::try_from(length.as_millis() / every.as_millis()).unwrap();
    let sessions = usize::try_from(every.as_millis() * 10).unwrap();
    let arrivals: Vec<Duration> = (0..groups).map(|number| begin + every * number).collect();
    let (mut waits, mut served, mut now) = (Vec::new(), 0, begin);
    while served < arrivals.len() {
        now = now.max(arrivals[served]);
        let here = arrivals[served..].iter().take_while(|at| **at <= now);
        let batch = here.take(MAX_LEAVES / sessions).count();
        let took = processor(now);
        pacer.took(took);
        let end = now + took;
        waits.extend(arrivals[served..served + batch].iter().map(|at| end - *at));
        served += batch;
        now = end.max(now + pacer.pace());
    }
    waits.sort_unstable();
    waits
}

fn percentile(waits: &[Duration], percent: usize) -> Duration {
    waits[(waits.len() * percent / 100).min(waits.len() - 1)]
}

/// What the lane does before it serves anybody; returns when it is done.
fn probe(pacer: &mut Pacer, processor: &mut impl FnMut(Duration) -> Duration) -> Duration {
    let mut now = Duration::ZERO;
    for _ in 0..12 {
        let took = processor(now);
        pacer.took(took);
        now += took;
        if Pacer::is_stall(took) {
            break;
        }
    }
    now
}

#[test]
fn t12_ten_thousand_a_second_wait_no_longer_than_two_reports_on_a_fast_processor() {
    let mut pacer = Pacer::new(Duration::ZERO);
    let mut processor = |_| REPORT;
    let ready = probe(&mut pacer, &mut processor);
    assert_eq!((pacer.pace(), ready), (Duration::ZERO, REPORT * 12));
    let waits = offered(&mut pacer, &mut processor, ready, Duration::from_secs(60), MS);
    assert_eq!(waits.len(), 60_000);
    assert!(
        percentile(&waits, 99) <= REPORT * 2,
        "{:?}",
        percentile(&waits, 99)
    );
    assert!(waits[waits.len() - 1] <= REPORT * 2);
}

/// T12: with the bucket, 99 of 100 wait at most 1.3 s and nobody is starved, over
/// two hours in which the lane also tries to go faster.
#[test]
fn t12_ten_thousand_a_second_with_ten_reports_in_ten_seconds() {
    let mut pacer = Pacer::new(Duration::ZERO);
    let mut bucket = Bucket::full();
    let mut stalls = 0;
    let mut processor = |now| {
        let took = bucket.report(now);
        stalls += u32::from(Pacer::is_stall(took));
        took
    };
    let ready = probe(&mut pacer, &mut processor);
    assert_eq!(pacer.pace(), THROTTLED);
    let waits = offered(
        &mut pacer,
        &mut processor,
        ready,
        Duration::from_secs(7200),
        MS * 10,
    );
    let p99 = percentile(&waits, 99);
    assert!(p99 <= Duration::from_millis(1300), "{p99:?}");
    // The lane itself lets nobody wait beyond 15 s.
    let longest = waits[waits.len() - 1];
    assert!(longest < Duration::from_secs(15), "{longest:?}");
    // It did try: else nothing was learned of a host that has stopped throttling.
    assert!((2..=3).contains(&stalls), "{stalls}");
}

#[test]
fn a_floor_is_kept_whatever_the_hardware_allows() {
    let floor = Duration::from_millis(300);
    let mut pacer = Pacer::new(floor);
    for _ in 0..1000 {
        pacer.took(REPORT);
        assert_eq!(pacer.pace(), floor);
    }
    pacer.took(Duration::from_secs(11));
    assert_eq!(pacer.pace(), THROTTLED);
    let mut slow = Pacer::new(Duration::from_secs(30));
    slow.took(Duration::from_secs(11));
    assert_eq!(slow.pace(), Duration::from_secs(30));
}

#[test]
fn a_host_that_no_longer_throttles_is_used_to_the_full_again() {
    let mut pacer = Pacer::new(Duration::ZERO);
    pacer.took(Duration::from_secs(11));
    let mut reports = 0;
    let mut before = pacer.pace();
    while pacer.pace() > Duration::ZERO {
        pacer.took(REPORT);
        reports += 1;
        // Step by step, never at once.
        assert!(pacer.pace() == before || pacer.pace() >= before * 3 / 4 || before < NEGLIGIBLE * 2);
        before = pacer.pace();
        assert!(reports < 5000);
    }
    assert!(reports > PATIENCE);
}

#[test]
fn each_attempt_that_stalls_makes_the_next_one_rarer_until_there_was_a_long_calm() {
    let mut pacer = Pacer::new(Duration::ZERO);
    let mut last = 0;
    for _ in 0..5 {
        pacer.took(Duration::from_secs(11));
        assert!(pacer.left > last, "{} after {last}", pacer.left);
        last = pacer.left;
        while pacer.pace() >= THROTTLED {
            pacer.took(REPORT);
        }
    }
    for _ in 0..50 {
        pacer.took(Duration::from_secs(11));
    }
    assert_eq!((pacer.patience, pacer.pace()), (MOST_PATIENCE, SLOWEST));
    for _ in 0..MOST_PATIENCE + 2 * CALM + 40 * STEP {
        pacer.took(REPORT);
    }
    pacer.took(Duration::from_secs(11));
    assert_eq!(pacer.patience, PATIENCE);
}
