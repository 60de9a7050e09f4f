//! Directions, half-close and clocks of one connection, over in-memory pipes
//! and on tokio's paused clock.

use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;

const PIPE: usize = 1024;

/// A pump on its own task: the two far ends, and how it ended.
fn start(
    idle: Duration,
    lifetime: Duration,
) -> (DuplexStream, DuplexStream, CancellationToken, JoinHandle<Ended>) {
    let (client, mut client_side) = duplex(PIPE);
    let (guest, mut guest_side) = duplex(PIPE);
    let cut = CancellationToken::new();
    let token = cut.clone();
    let pump = tokio::spawn(async move {
        let (to_guest, to_client) = (Counter::default(), Counter::default());
        let deadlines = Deadlines {
            idle,
            lifetime: Instant::now() + lifetime,
            cut: &token,
        };
        let meters = Meters {
            to_guest: &to_guest,
            to_client: &to_client,
        };
        pump(&mut client_side, &mut guest_side, &deadlines, &meters).await
    });
    (client, guest, cut, pump)
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_closed_half_still_gets_the_other_ends_answer() {
    let (mut client, mut guest, _cut, pump) = start(HOUR, HOUR);
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut question = Vec::new();
    guest.read_to_end(&mut question).await.unwrap();
    assert_eq!(question, b"question");
    assert!(!pump.is_finished());
    guest.write_all(b"answer").await.unwrap();
    guest.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer");
    assert_eq!(pump.await.unwrap(), Ended::Complete);
}

/// A client that never closes must not keep its place once the guest has given
/// it up: the guest's own time-outs end connections here, too.
#[tokio::test(start_paused = true)]
async fn a_client_that_stays_after_the_guest_has_closed_is_ended_soon() {
    let (mut client, mut guest, _cut, pump) = start(HOUR, HOUR);
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(600)).await;
    guest.write_all(b"bye").await.unwrap();
    guest.shutdown().await.unwrap();
    let mut last = Vec::new();
    client.read_to_end(&mut last).await.unwrap();
    assert_eq!(last, b"bye");
    // One that still sends to a guest that still reads goes on.
    let mut byte = [0];
    for _ in 0..5 {
        tokio::time::sleep(AFTER_GUEST / 2).await;
        client.write_all(b".").await.unwrap();
        guest.read_exact(&mut byte).await.unwrap();
    }
    assert_eq!(pump.await.unwrap(), Ended::Idle);
    let lasted = began.elapsed() - Duration::from_secs(600);
    assert!(lasted < AFTER_GUEST * 4, "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn idle_time_counts_from_the_last_byte_in_either_direction() {
    let (mut client, mut guest, _cut, pump) = start(Duration::from_secs(10), HOUR);
    let began = Instant::now();
    let mut byte = [0];
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(8)).await;
        guest.write_all(b".").await.unwrap();
        client.read_exact(&mut byte).await.unwrap();
    }
    assert_eq!(pump.await.unwrap(), Ended::Idle);
    let lasted = began.elapsed();
    assert!((49..=51).contains(&lasted.as_secs()), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_idle_however_much_the_writer_has() {
    let (mut client, _guest, _cut, pump) = start(Duration::from_secs(10), HOUR);
    let writer = tokio::spawn(async move { client.write_all(&vec![7; 4 * BUFFER]).await });
    assert_eq!(pump.await.unwrap(), Ended::Idle);
    assert!(writer.await.unwrap().is_err(), "the writer was told");
}

#[tokio::test(start_paused = true)]
async fn a_busy_connection_ends_with_its_lifetime() {
    let (mut client, mut guest, _cut, pump) = start(HOUR, Duration::from_secs(60));
    let talk = tokio::spawn(async move {
        let mut byte = [0];
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let sent = client.write_all(b".").await;
            if sent.is_err() || guest.read_exact(&mut byte).await.is_err() {
                return;
            }
        }
    });
    let began = Instant::now();
    assert_eq!(pump.await.unwrap(), Ended::Lifetime);
    assert_eq!(began.elapsed().as_secs(), 60);
    talk.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_it_at_once() {
    let (_client, _guest, cut, pump) = start(HOUR, HOUR);
    cut.cancel();
    assert_eq!(pump.await.unwrap(), Ended::Cut);
}

#[tokio::test(start_paused = true)]
async fn at_most_one_buffer_is_read_ahead_of_a_reader_that_stalls() {
    let (client, _guest, _cut, _pump) = start(HOUR, HOUR);
    let (_reader, mut writer) = tokio::io::split(client);
    let mut taken = 0;
    while let Ok(count) = timeout(Duration::from_secs(1), writer.write(&[7; 512])).await {
        taken += count.unwrap();
    }
    // One pipe on each side of the pump, and the pump's own buffer.
    assert!(taken <= 2 * PIPE + BUFFER, "{taken} bytes were taken");
}
