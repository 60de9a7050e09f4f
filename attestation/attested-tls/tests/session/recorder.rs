//! What somebody on the path sees: a TCP relay that records the TLS records a
//! client sends.

use std::sync::{Arc, Mutex};

use bastide_attested_tls::NodeAddress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::node::listen;

const APPLICATION_DATA: u8 = 23;
/// An encrypted alert: two bytes, its type and the tag. `close_notify` is one.
const ALERT_BYTES: usize = 2 + 1 + 16;

/// Bytes from clients, one list for each connection.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Vec<u8>>>>);

impl Recorder {
    /// Relays to `node` and records.
    pub(crate) async fn before(node: &NodeAddress) -> (Self, NodeAddress) {
        let recorder = Self::default();
        let (listener, address) = listen().await;
        let (node, recording) = (node.clone(), recorder.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect((node.host(), node.port())).await.unwrap();
                tokio::spawn(relay(client, server, recording.clone()));
            }
        });
        (recorder, address)
    }

    /// Encrypted bytes of application data records on connection `number`, with
    /// the client's Finished and without alerts.
    pub(crate) fn application_bytes(&self, number: usize) -> Vec<usize> {
        let recorded = self.0.lock().unwrap();
        let mut rest = recorded[number].as_slice();
        let mut lengths = Vec::new();
        while let Some((header, after)) = rest.split_first_chunk::<5>() {
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            if header[0] == APPLICATION_DATA && length != ALERT_BYTES {
                lengths.push(length);
            }
            rest = &after[length.min(after.len())..];
        }
        lengths
    }
}

async fn relay(client: TcpStream, server: TcpStream, recorder: Recorder) {
    let number = {
        let mut recorded = recorder.0.lock().unwrap();
        recorded.push(Vec::new());
        recorded.len() - 1
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { drop(tokio::io::copy(&mut from_server, &mut to_client).await) });
    let mut buffer = [0; 16 * 1024];
    while let Ok(read) = from_client.read(&mut buffer).await {
        recorder.0.lock().unwrap()[number].extend_from_slice(&buffer[..read]);
        if read == 0 || to_server.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    drop(to_server.shutdown().await);
}
