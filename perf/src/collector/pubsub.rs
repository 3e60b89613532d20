//! A Pub/Sub that takes everything for its one topic.

use std::rc::Rc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use super::message::{HEAD_MAX, message_len};
use super::{Counts, TOPIC, add};
use crate::{Result, report};

const PUBLISH: &str = "/google.pubsub.v1.Publisher/Publish";
/// More than the largest message: what is measured never waits for room.
/// Frames have the 16 KiB that they have with Google.
const STREAM_WINDOW: u32 = 16 << 20;
/// For as many calls as a butler makes at once, if they are not the largest.
const CONNECTION_WINDOW: u32 = 64 << 20;
/// A `PublishResponse` with the id "1".
const ANSWER: &[u8] = b"\0\0\0\0\x03\x0a\x011";
/// gRPC's codes.
const INVALID_ARGUMENT: &str = "3";
const UNIMPLEMENTED: &str = "12";

/// Says when the first connection is there.
pub async fn serve(listener: TcpListener, counts: Rc<Counts>) -> Result<()> {
    loop {
        let (socket, peer) = listener.accept().await?;
        socket.set_nodelay(true)?;
        add(&counts.connections, 1);
        if counts.connections.get() == 1 {
            report::say(&json!({"connected": peer.to_string()}))?;
        }
        let counts = Rc::clone(&counts);
        spawn_local(async move {
            // A butler that has ended just closes.
            if let Err(error) = connection(socket, counts).await
                && !error.is_io()
            {
                eprintln!("connection of {peer}: {error}");
            }
        });
    }
}

async fn connection(socket: TcpStream, counts: Rc<Counts>) -> std::result::Result<(), h2::Error> {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake::<_, Bytes>(socket)
        .await?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        let counts = Rc::clone(&counts);
        spawn_local(async move {
            if let Err(error) = answer(request, respond, &counts).await {
                eprintln!("call: {error}");
            }
        });
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    counts: &Counts,
) -> Result<()> {
    let is_publish = request.uri().path() == PUBLISH;
    let mut body = request.into_body();
    let mut head = Vec::with_capacity(HEAD_MAX);
    let mut len = 0;
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        let room = HEAD_MAX - head.len();
        head.extend_from_slice(&piece[..piece.len().min(room)]);
        len += piece.len();
    }
    if !is_publish {
        return refuse(respond, counts, UNIMPLEMENTED, "only Publish is known");
    }
    match message_len(&head, len, TOPIC) {
        Ok(message) => {
            add(&counts.messages, 1);
            add(&counts.bytes, message as u64);
            accept(respond)
        }
        Err(why) => refuse(respond, counts, INVALID_ARGUMENT, why),
    }
}

fn accept(mut respond: SendResponse<Bytes>) -> Result<()> {
    let mut body = respond.send_response(head()?, false)?;
    body.send_data(Bytes::from_static(ANSWER), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    Ok(body.send_trailers(trailers)?)
}

fn refuse(
    mut respond: SendResponse<Bytes>,
    counts: &Counts,
    code: &'static str,
    why: &'static str,
) -> Result<()> {
    add(&counts.calls_refused, 1);
    let mut head = head()?;
    let headers = head.headers_mut();
    headers.insert("grpc-status", HeaderValue::from_static(code));
    headers.insert("grpc-message", HeaderValue::from_static(why));
    respond.send_response(head, true)?;
    Ok(())
}

fn head() -> http::Result<Response<()>> {
    Response::builder()
        .status(StatusCode::OK)
        .header("content-type", "application/grpc")
        .body(())
}
