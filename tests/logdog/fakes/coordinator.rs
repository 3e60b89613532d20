//! A Coordinator that registers any prefix, unless it is told to fail.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use butler::proto::registration::{RegisterPrefixRequest, RegisterPrefixResponse};
use prost::Message;

use super::http::{self, Reply, Request};
use super::{SECRET, TOPIC};

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Call {
    pub http: Request,
    pub request: RegisterPrefixRequest,
    pub at: Instant,
}

impl Call {
    /// Empty: it came without one.
    pub fn token(&self) -> &str {
        match self.http.headers.get("authorization") {
            Some(header) => header.strip_prefix("Bearer ").unwrap(),
            None => "",
        }
    }
}

#[derive(Default)]
struct Shared {
    calls: Vec<Call>,
    /// What the next calls get instead of success.
    replies: VecDeque<Reply>,
    /// Tokens that may not register.
    denied: Vec<&'static str>,
    held: bool,
    away: bool,
    under_way: usize,
    under_way_max: usize,
}

pub struct Coordinator {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

/// As pRPC puts an error.
pub fn error(code: u32, text: &str) -> Reply {
    Reply::Answer {
        status: 400,
        headers: vec![("X-Prpc-Grpc-Code", code.to_string())],
        body: text.as_bytes().to_vec(),
    }
}

/// As pRPC puts a response.
pub fn success(secret: &[u8], topic: &str) -> Reply {
    let response = RegisterPrefixResponse {
        secret: secret.to_vec().into(),
        log_bundle_topic: topic.into(),
    };
    Reply::Answer {
        status: 200,
        headers: vec![
            ("X-Prpc-Grpc-Code", "0".into()),
            ("Content-Type", "application/prpc; encoding=binary".into()),
        ],
        body: response.encode_to_vec(),
    }
}

impl Coordinator {
    pub fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let state = Arc::clone(&shared);
        let address = http::serve(move |http| {
            let at = Instant::now();
            {
                let mut shared = state.lock().unwrap();
                shared.under_way += 1;
                shared.under_way_max = shared.under_way_max.max(shared.under_way);
            }
            // So that those that come at the same time are seen to.
            std::thread::sleep(Duration::from_millis(20));
            while state.lock().unwrap().held {
                std::thread::sleep(Duration::from_millis(5));
            }
            let mut shared = state.lock().unwrap();
            shared.under_way -= 1;
            let request = RegisterPrefixRequest::decode(&*http.body).unwrap();
            let call = Call { http, request, at };
            let denied = shared.denied.contains(&call.token());
            shared.calls.push(call);
            if shared.away {
                return Reply::Cut;
            }
            match shared.replies.pop_front() {
                _ if denied => error(7, "not you"),
                Some(reply) => reply,
                None => success(SECRET, TOPIC),
            }
        });
        Self { address, shared }
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The next call gets that.
    pub fn then(&self, reply: Reply) {
        self.shared.lock().unwrap().replies.push_back(reply);
    }

    /// Whoever comes with that token is denied.
    pub fn deny(&self, token: &'static str) {
        self.shared.lock().unwrap().denied.push(token);
    }

    /// Answers nobody while that is so.
    pub fn hold(&self, held: bool) {
        self.shared.lock().unwrap().held = held;
    }

    /// Hears everybody and answers nobody while that is so.
    pub fn set_away(&self, away: bool) {
        self.shared.lock().unwrap().away = away;
    }

    /// The most calls that were under way at a time.
    pub fn under_way_max(&self) -> usize {
        self.shared.lock().unwrap().under_way_max
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().unwrap().calls.clone()
    }
}
