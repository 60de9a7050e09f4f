//! A host between enclaves: sends each connection where it likes, and passes
//! nothing on once it is told to.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A listening relay. The first connection goes to the first node, and so on;
/// the last node gets all others.
pub(crate) struct Relay {
    pub(crate) address: String,
    frozen: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Relay {
    pub(crate) async fn start(nodes: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (frozen, until) = watch::channel(false);
        let mut numbers = 0..;
        let accepting = tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let node = numbers
                    .next()
                    .and_then(|number: usize| nodes.get(number))
                    .or_else(|| nodes.last())
                    .unwrap()
                    .clone();
                let mut until = until.clone();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(node).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => return,
                        _ = until.wait_for(|frozen| *frozen) => {}
                    }
                    // Dropped sockets would be closed ones.
                    std::future::pending::<()>().await;
                });
            }
        });
        Self {
            address,
            frozen,
            accepting,
        }
    }

    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(true);
    }
}
