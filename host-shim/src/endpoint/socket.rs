//! Sockets of both families behind one listener and one stream. Owns bind,
//! accept, connect and the abrupt end. It reads and writes nothing itself.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_vsock::{VsockAddr, VsockListener, VsockStream};

use super::{Cid, Endpoint, Host, VSOCK_CID_ANY, VSOCK_PORT_ANY};

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// Of `tcp:…`.
    Tcp(TcpListener),
    /// Of `vsock:…`.
    Vsock(VsockListener),
}

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    /// Of `tcp:…`.
    Tcp(TcpStream),
    /// Of `vsock:…`.
    Vsock(VsockStream),
}

/// Who connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// By TCP. An IPv4 address that came in IPv6 form is IPv4 here.
    Ip(IpAddr),
    /// By vsock: the context id.
    Cid(u32),
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Cid(cid) => write!(f, "cid {cid}"),
        }
    }
}

impl Listener {
    /// Binds and listens.
    ///
    /// # Errors
    /// What the kernel or the name's resolution says.
    pub async fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp {
                host: Host::Address(address),
                port,
            } => TcpListener::bind((*address, *port)).await.map(Self::Tcp),
            Endpoint::Tcp {
                host: Host::Name(name),
                port,
            } => TcpListener::bind((name.as_str(), *port)).await.map(Self::Tcp),
            Endpoint::Vsock { cid, port } => {
                let port = if *port == 0 { VSOCK_PORT_ANY } else { *port };
                VsockListener::bind(VsockAddr::new(cid_number(*cid), port)).map(Self::Vsock)
            }
        }
    }

    /// What it is bound to, with the port that was picked.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local(&self) -> io::Result<Endpoint> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| Endpoint::Tcp {
                host: Host::Address(address.ip()),
                port: address.port(),
            }),
            Self::Vsock(listener) => listener.local_addr().map(|address| Endpoint::Vsock {
                cid: address.cid().into(),
                port: address.port(),
            }),
        }
    }

    /// Waits for the next connection. Cancel-safe.
    ///
    /// # Errors
    /// What the kernel says, such as no free file descriptor.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::tcp(stream)?, peer_of(peer)))
            }
            Self::Vsock(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Vsock(stream), Peer::Cid(peer.cid())))
            }
        }
    }
}

impl Stream {
    /// Connects; of a name's addresses, the first that answers.
    ///
    /// # Errors
    /// What the kernel or the name's resolution says.
    pub async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp {
                host: Host::Address(address),
                port,
            } => Self::tcp(TcpStream::connect((*address, *port)).await?),
            Endpoint::Tcp {
                host: Host::Name(name),
                port,
            } => Self::tcp(TcpStream::connect((name.as_str(), *port)).await?),
            Endpoint::Vsock { cid, port } => {
                let address = VsockAddr::new(cid_number(*cid), *port);
                VsockStream::connect(address).await.map(Self::Vsock)
            }
        }
    }

    /// A relay adds no delay of its own to small records.
    fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Ends it without delivering what the kernel still holds, so that the peer
    /// sees an abrupt end and no memory waits for a reader that doesn't read.
    pub fn abort(self) {
        if let Self::Tcp(stream) = &self {
            // A socket that is gone already needs no reset.
            let _ = stream.set_zero_linger();
        }
    }
}

fn peer_of(address: SocketAddr) -> Peer {
    Peer::Ip(address.ip().to_canonical())
}

fn cid_number(cid: Cid) -> u32 {
    match cid {
        Cid::Any => VSOCK_CID_ANY,
        Cid::Is(number) => number,
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Vsock(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Vsock(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Vsock(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Vsock(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
