//! Messages over bare TCP, so that the same loop can be timed without
//! attestation and encryption. It proves nothing and hides nothing, and is
//! compiled only with the feature `plain-transport`, which no enclave has.
//!
//! Owns the framing: a length of four bytes, little-endian, and the message.
//! Refuses lengths beyond those of a link.

use bastide_attestation::link::MAX_DATA_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::transport::{Link, LinkClosed, LinkKind, Receiver, Sender};
use crate::head::Loss;

const CLOSED: LinkClosed = LinkClosed {
    code: "link.connection",
    why: Loss::Ended,
};

type Reader = Box<dyn AsyncRead + Unpin + Send>;
type Writer = Box<dyn AsyncWrite + Unpin + Send>;

/// Sends on bare TCP.
pub(super) struct PlainSender(Writer);

impl PlainSender {
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), &'static str> {
        let length = u32::try_from(message.len()).map_err(|_| "link.message_length")?;
        let framed = [&length.to_le_bytes(), message].concat();
        self.0.write_all(&framed).await.map_err(|_| CLOSED.code)
    }
}

/// Receives on bare TCP, and keeps what of a message has come.
pub(super) struct PlainReceiver {
    stream: Reader,
    came: Vec<u8>,
}

impl PlainReceiver {
    pub(super) async fn recv(&mut self) -> Result<Vec<u8>, LinkClosed> {
        loop {
            if let Some((length, rest)) = self.came.split_first_chunk::<4>() {
                let length = u32::from_le_bytes(*length) as usize;
                if length > MAX_DATA_BYTES {
                    return Err(CLOSED);
                }
                if rest.len() >= length {
                    let after = self.came.split_off(4 + length);
                    let mut message = std::mem::replace(&mut self.came, after);
                    message.drain(..4);
                    return Ok(message);
                }
            }
            // Dropping this future loses nothing: what it reads, it has kept.
            match self.stream.read_buf(&mut self.came).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(CLOSED),
            }
        }
    }
}

fn link<IO>(stream: IO, stage: u16, kind: LinkKind) -> Link
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    Link {
        stage,
        kind,
        sender: Sender::Plain(PlainSender(Box::new(writer))),
        receiver: Receiver::Plain(PlainReceiver {
            stream: Box::new(reader),
            came: Vec::new(),
        }),
    }
}

/// Connects, and says who does: stage and kind, three bytes.
pub(super) async fn connect(own: u16, kind: LinkKind, stage: u16, address: &str) -> Result<Link, LinkClosed> {
    let connect = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let [low, high] = own.to_le_bytes();
        stream
            .write_all(&[low, high, u8::from(kind == LinkKind::Ring)])
            .await?;
        Ok::<_, std::io::Error>(stream)
    };
    match connect.await {
        Ok(stream) => Ok(link(stream, stage, kind)),
        Err(_) => Err(LinkClosed {
            why: Loss::Unreachable,
            ..CLOSED
        }),
    }
}

/// Takes a connection, and believes who it says it is.
pub(super) async fn accept<IO>(mut stream: IO) -> Result<Link, LinkClosed>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut said = [0; 3];
    stream.read_exact(&mut said).await.map_err(|_| CLOSED)?;
    let [low, high, kind] = said;
    let kind = if kind == 1 { LinkKind::Ring } else { LinkKind::Head };
    Ok(link(stream, u16::from_le_bytes([low, high]), kind))
}
