//! A line on stderr while something takes longer than people like to wait
//! without a word. Only on a terminal; gone when it is done.

use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

use crate::console::Console;
use crate::escape;

const PATIENCE: Duration = Duration::from_millis(300);
const FRAME: Duration = Duration::from_millis(120);
const FRAMES: [char; 4] = ['|', '/', '-', '\\'];

/// Waits for `work`; shows `what` if it takes longer than 300 ms.
pub(crate) async fn shown<T>(console: &Console, what: &str, work: impl Future<Output = T>) -> T {
    if !console.shows_progress() {
        return work.await;
    }
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    let what = escape::line(what);
    let mut frames = FRAMES.iter().cycle();
    loop {
        let frame = frames.next().unwrap_or(&'.');
        draw(&format!("\r{frame} {what} "));
        tokio::select! {
            done = &mut work => {
                draw("\r\u{1b}[2K");
                return done;
            }
            () = tokio::time::sleep(FRAME) => {}
        }
    }
}

fn draw(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
