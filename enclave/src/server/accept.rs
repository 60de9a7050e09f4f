//! The listeners, TCP and vsock. Whom admission doesn't let in is closed before
//! its first byte is read.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_vsock::{VMADDR_CID_ANY, VsockAddr, VsockListener};

use super::{Node, connection};

/// Pause after a failed accept, so that running out of descriptors doesn't spin.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Where connections come from.
#[derive(Debug)]
pub(crate) enum Listener {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A vsock socket, the way in from the host of the VM.
    Vsock(VsockListener),
}

impl Listener {
    /// Listens on TCP; port 0 takes a free one.
    pub(crate) async fn tcp(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self::Tcp)
    }

    /// Listens on a vsock port for any peer.
    pub(crate) fn vsock(port: u32) -> io::Result<Self> {
        VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, port)).map(Self::Vsock)
    }

    /// The address in the ready line: `IP:PORT`, or `vsock:PORT`.
    pub(crate) fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| address.to_string()),
            Self::Vsock(listener) => listener
                .local_addr()
                .map(|address| format!("vsock:{}", address.port())),
        }
    }
}

/// Accepts connections until draining starts, and then returns at once.
pub(crate) async fn serve(node: Arc<Node>, listener: Listener) {
    loop {
        let failed = tokio::select! {
            () = node.life.until_draining() => return,
            failed = accept_one(&node, &listener) => failed,
        };
        if failed.is_err() {
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }
}

async fn accept_one(node: &Arc<Node>, listener: &Listener) -> io::Result<()> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            // Tokens are small writes that should leave at once.
            stream.set_nodelay(true)?;
            admit(node, stream, Some(peer.ip()));
        }
        Listener::Vsock(listener) => {
            let (stream, _) = listener.accept().await?;
            // The host is the peer of all of them.
            admit(node, stream, None);
        }
    }
    Ok(())
}

fn admit<IO>(node: &Arc<Node>, io: IO, peer: Option<IpAddr>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(guest) = node.admission.arrive(peer, Instant::now()) else {
        return;
    };
    node.life
        .connections()
        .spawn(connection::run(Arc::clone(node), io, guest));
}
