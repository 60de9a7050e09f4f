//! A plain HTTP/1.1 client over one loopback socket: enough to play an API
//! client, and simple enough that what goes over the wire is what is written here.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An answer read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Header lines, lower-case names.
    pub headers: Vec<(String, String)>,
    /// Body, chunks joined.
    pub body: String,
}

impl Answer {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Sends one request to `authority` (host:port) and hands every line of the
/// body to `line` as it arrives.
///
/// # Errors
/// A socket error, or an answer that isn't HTTP/1.1 or ends early.
pub fn request(
    authority: &str,
    method: &str,
    path: &str,
    body: &str,
    mut line: impl FnMut(&str),
) -> Result<Answer, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut socket = TcpStream::connect(authority).map_err(text)?;
    socket
        .set_read_timeout(Some(Duration::from_secs(120)))
        .map_err(text)?;
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .map_err(text)?;
    let mut reader = BufReader::new(socket);
    let status = next_line(&mut reader)?;
    let status = status
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| format!("no HTTP/1.1 status line: `{status}`"))?;
    let mut headers = Vec::new();
    loop {
        let header = next_line(&mut reader)?;
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let chunked = headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let mut answer = Answer {
        status,
        headers,
        body: String::new(),
    };
    let mut pending = String::new();
    let mut take = |bytes: &[u8], answer: &mut Answer| {
        let piece = String::from_utf8_lossy(bytes);
        answer.body.push_str(&piece);
        pending.push_str(&piece);
        while let Some(end) = pending.find('\n') {
            let whole: String = pending.drain(..=end).collect();
            line(whole.trim_end());
        }
    };
    if chunked {
        loop {
            let size = next_line(&mut reader)?;
            let size =
                usize::from_str_radix(size.trim(), 16).map_err(|_| format!("no chunk size: `{size}`"))?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).map_err(text)?;
            if size == 0 {
                break;
            }
            take(&chunk[..size], &mut answer);
        }
    } else {
        let length = answer
            .header("content-length")
            .and_then(|value| value.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).map_err(text)?;
        take(&body, &mut answer);
    }
    Ok(answer)
}

fn next_line(reader: &mut impl BufRead) -> Result<String, String> {
    let mut line = String::new();
    match reader.read_line(&mut line) {
        Ok(0) => Err("the connection ended early".to_owned()),
        Ok(_) => Ok(line.trim_end().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
