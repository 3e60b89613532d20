//! A Pub/Sub of our own: real gRPC over HTTP/2, and any fault that is asked
//! for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use butler::proto::pubsub::{PublishRequest, PublishResponse};
use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Accept,
    /// That code, without taking the message.
    Refuse(u32),
    /// The same, in these words.
    RefuseSaying(u32, &'static str),
    /// That code, although the message is taken.
    AcceptAndRefuse(u32),
    /// No answer, ever.
    Stall,
    /// The connection closes; the message was taken before, or not.
    Cut {
        accepted: bool,
    },
    /// GOAWAY, and the connection closes with this call unanswered.
    GoAway,
    /// The message is taken, and a GOAWAY lets calls under way end.
    AcceptAndGoAway,
    /// HTTP/2 resets the stream.
    Reset,
    /// Taken and answered after a while.
    Slow(Duration),
}

/// One call, as it came.
#[derive(Debug, Clone)]
pub struct Call {
    /// Counts calls, from 0.
    pub number: usize,
    /// How often this very message came before.
    pub earlier: usize,
    pub token: Option<String>,
    pub params: String,
    pub topic: String,
    pub message: Vec<u8>,
    pub at: Instant,
}

type Policy = Box<dyn FnMut(&Call) -> Fate + Send>;

struct Shared {
    policy: Policy,
    calls: Vec<Call>,
    accepted: Vec<Vec<u8>>,
    under_way: usize,
    under_way_max: usize,
    connections: usize,
}

pub struct Publisher {
    address: SocketAddr,
    secure: bool,
    shared: Arc<Mutex<Shared>>,
}

impl Publisher {
    pub fn start() -> Self {
        Self::start_at(0)
    }

    pub fn start_at(port: u16) -> Self {
        Self::with(port, None)
    }

    /// With TLS.
    pub fn secure(config: rustls::ServerConfig) -> Self {
        Self::with(0, Some(Arc::new(config).into()))
    }

    fn with(port: u16, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let secure = acceptor.is_some();
        let shared = Arc::new(Mutex::new(Shared {
            policy: Box::new(|_| Fate::Accept),
            calls: Vec::new(),
            accepted: Vec::new(),
            under_way: 0,
            under_way_max: 0,
            connections: 0,
        }));
        let state = Arc::clone(&shared);
        thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(listen(listener, acceptor, state));
        });
        Self {
            address,
            secure,
            shared,
        }
    }

    pub fn url(&self) -> String {
        match self.secure {
            true => format!("https://localhost:{}", self.address.port()),
            false => format!("http://{}", self.address),
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Decides from now on what becomes of calls.
    pub fn set(&self, policy: impl FnMut(&Call) -> Fate + Send + 'static) {
        self.shared.lock().unwrap().policy = Box::new(policy);
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().unwrap().calls.clone()
    }

    /// Messages that were taken, with those that came again.
    pub fn accepted(&self) -> Vec<Vec<u8>> {
        self.shared.lock().unwrap().accepted.clone()
    }

    /// The most calls that were under way at a time.
    pub fn under_way_max(&self) -> usize {
        self.shared.lock().unwrap().under_way_max
    }

    pub fn connections(&self) -> usize {
        self.shared.lock().unwrap().connections
    }
}

async fn listen(
    listener: std::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Mutex<Shared>>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        shared.lock().unwrap().connections += 1;
        let shared = Arc::clone(&shared);
        match acceptor.clone() {
            None => {
                tokio::spawn(serve(socket, shared));
            }
            Some(acceptor) => {
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        serve(stream, shared).await;
                    }
                });
            }
        }
    }
}

/// What a call does to its connection.
enum End {
    Cut,
    GoAway,
    Drain,
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Mutex<Shared>>) {
    let handshake = h2::server::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 22)
        .handshake::<_, Bytes>(io)
        .await;
    let Ok(mut connection) = handshake else {
        return;
    };
    let (end, mut ends) = unbounded_channel();
    loop {
        tokio::select! {
            call = connection.accept() => match call {
                Some(Ok((request, respond))) => {
                    tokio::spawn(answer(request, respond, Arc::clone(&shared), end.clone()));
                }
                _ => return,
            },
            Some(end) = ends.recv() => match end {
                End::Cut => return,
                End::GoAway => connection.abrupt_shutdown(h2::Reason::NO_ERROR),
                End::Drain => connection.graceful_shutdown(),
            },
        }
    }
}

/// The call, as it is before its fate is known, of a request that is whole.
async fn call(request: http::Request<h2::RecvStream>) -> Option<Call> {
    let header = |name: &str| {
        let value = request.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    assert_eq!(request.uri().path(), "/google.pubsub.v1.Publisher/Publish");
    assert_eq!(header("content-type").as_deref(), Some("application/grpc"));
    assert_eq!(header("te").as_deref(), Some("trailers"));
    assert!(header("grpc-timeout").is_some());
    let params = header("x-goog-request-params").unwrap();
    let token = header("authorization");
    let mut body = request.into_body();
    let mut frame = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        let _ = body.flow_control().release_capacity(piece.len());
        frame.extend_from_slice(&piece);
    }
    assert_eq!(frame[0], 0, "not compressed");
    let len = u32::from_be_bytes(frame[1..5].try_into().unwrap());
    assert_eq!(len as usize, frame.len() - 5);
    let request = PublishRequest::decode(&frame[5..]).unwrap();
    assert_eq!(request.messages.len(), 1);
    Some(Call {
        number: 0,
        earlier: 0,
        token: token.map(|token| token.strip_prefix("Bearer ").unwrap().to_owned()),
        params,
        topic: request.topic,
        message: request.messages[0].data.to_vec(),
        at: Instant::now(),
    })
}

async fn answer(
    request: http::Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: Arc<Mutex<Shared>>,
    end: UnboundedSender<End>,
) {
    let Some(mut call) = call(request).await else {
        return;
    };
    let fate = {
        let mut shared = shared.lock().unwrap();
        let same = |earlier: &&Call| earlier.message == call.message;
        call.earlier = shared.calls.iter().filter(same).count();
        call.number = shared.calls.len();
        shared.calls.push(call.clone());
        shared.under_way += 1;
        shared.under_way_max = shared.under_way_max.max(shared.under_way);
        (shared.policy)(&call)
    };
    if let Fate::Slow(wait) = fate {
        tokio::time::sleep(wait).await;
    }
    {
        let mut shared = shared.lock().unwrap();
        if fate != Fate::Stall {
            shared.under_way -= 1;
        }
        if matches!(
            fate,
            Fate::Accept
                | Fate::AcceptAndRefuse(_)
                | Fate::Cut { accepted: true }
                | Fate::AcceptAndGoAway
                | Fate::Slow(_)
        ) {
            shared.accepted.push(call.message);
        }
    }
    match fate {
        Fate::Accept | Fate::Slow(_) => accept(respond),
        Fate::AcceptAndGoAway => {
            accept(respond);
            let _ = end.send(End::Drain);
        }
        Fate::Refuse(code) | Fate::AcceptAndRefuse(code) | Fate::RefuseSaying(code, _) => {
            let says = match fate {
                Fate::RefuseSaying(_, says) => says,
                _ => "as the test wants it",
            };
            refuse(respond, code, says);
        }
        Fate::Stall => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        Fate::Cut { .. } => {
            let _ = end.send(End::Cut);
        }
        Fate::GoAway => {
            let _ = end.send(End::GoAway);
        }
        Fate::Reset => respond.send_reset(h2::Reason::INTERNAL_ERROR),
    }
}

fn refuse(mut respond: SendResponse<Bytes>, code: u32, says: &str) {
    let response = http::Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", code.to_string())
        .header("grpc-message", says)
        .body(())
        .unwrap();
    let _ = respond.send_response(response, true);
}

fn accept(mut respond: SendResponse<Bytes>) {
    let response = http::Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let Ok(mut stream) = respond.send_response(response, false) else {
        return;
    };
    let message = PublishResponse {
        message_ids: vec!["1".into()],
    };
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.encoded_len() as u32);
    message.encode(&mut frame).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let _ = stream
        .send_data(frame.freeze(), false)
        .and_then(|()| stream.send_trailers(trailers));
}
