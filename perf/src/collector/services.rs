//! GCE's metadata server, as far as it gives tokens, and a Coordinator that
//! registers any prefix. One call for a connection, which is how a butler
//! makes them.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use super::{SECRET, TOPIC};
use crate::Result;

const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
const REGISTER_PREFIX: &str = "/prpc/logdog.Registration/RegisterPrefix";
const REQUEST_MAX: usize = 64 * 1024;

/// For as long as the listener works.
pub async fn serve(listener: TcpListener) -> Result<()> {
    loop {
        let (socket, peer) = listener.accept().await?;
        spawn_local(async move {
            if let Err(error) = exchange(socket).await {
                eprintln!("call of {peer}: {error}");
            }
        });
    }
}

async fn exchange(mut socket: TcpStream) -> Result<()> {
    let mut request = Vec::new();
    let len = loop {
        if let Some(len) = request_len(&request)? {
            break len;
        }
        if request.len() > REQUEST_MAX {
            return Err("the request is too large".into());
        }
        if socket.read_buf(&mut request).await? == 0 {
            return Err("the request is cut off".into());
        }
    };
    // What is left unread when a connection closes resets it, and the answer
    // may be lost with it.
    while request.len() < len {
        if socket.read_buf(&mut request).await? == 0 {
            return Err("the request is cut off".into());
        }
    }
    socket.write_all(&answer(target(&request)?)).await?;
    Ok(socket.shutdown().await?)
}

/// The length of a request whose head is there.
fn request_len(request: &[u8]) -> Result<Option<usize>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(end) = request.windows(END.len()).position(|at| at == END) else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&request[..end])?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse())
    });
    let body: usize = length.transpose()?.unwrap_or(0);
    if body > REQUEST_MAX {
        return Err("the request is too large".into());
    }
    Ok(Some(end + END.len() + body))
}

/// The path that is asked for, without what follows a question mark.
fn target(request: &[u8]) -> Result<&str> {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or(&[]);
    let target = std::str::from_utf8(line)?.split(' ').nth(1);
    let target = target.ok_or("there is no target in the request")?;
    Ok(target.split('?').next().unwrap_or(target))
}

fn answer(target: &str) -> Vec<u8> {
    match target {
        TOKEN => {
            let token = json!({
                "access_token": "bench",
                "expires_in": 3600,
                "token_type": "Bearer",
            });
            http("200 OK", "application/json", token.to_string().as_bytes())
        }
        REGISTER_PREFIX => http(
            "200 OK",
            "application/prpc; encoding=binary\r\nX-Prpc-Grpc-Code: 0",
            &registration(),
        ),
        _ => http(
            "404 Not Found",
            "text/plain",
            b"there is no such thing here",
        ),
    }
}

fn http(status: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A `RegisterPrefixResponse`: `secret` is field 1, `log_bundle_topic` 2. Both
/// are so short that a byte has their length.
fn registration() -> Vec<u8> {
    let mut response = vec![1 << 3 | 2, SECRET.len() as u8];
    response.extend_from_slice(SECRET);
    response.extend_from_slice(&[2 << 3 | 2, TOPIC.len() as u8]);
    response.extend_from_slice(TOPIC.as_bytes());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_end_where_they_say() {
        let post = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: 3\r\n\r\nabc";
        let head = post.len() - 3;
        assert_eq!(request_len(post).unwrap(), Some(post.len()));
        assert_eq!(request_len(&post[..head]).unwrap(), Some(post.len()));
        assert_eq!(request_len(&post[..head - 1]).unwrap(), None);
        assert_eq!(target(post).unwrap(), "/a");
        assert_eq!(request_len(b"GET / HTTP/1.1\r\n\r\n").unwrap(), Some(18));
        assert!(request_len(b"GET / X\r\ncontent-length: -1\r\n\r\n").is_err());
        assert!(request_len(b"GET / X\r\ncontent-length: 9999999\r\n\r\n").is_err());
    }

    #[test]
    fn what_is_not_known_is_not_found() {
        assert!(answer(TOKEN).starts_with(b"HTTP/1.1 200 "));
        assert!(answer(REGISTER_PREFIX).ends_with(TOPIC.as_bytes()));
        assert!(answer("/").starts_with(b"HTTP/1.1 404 "));
    }
}
