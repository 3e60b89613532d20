//! Servers that hand out tokens: LUCI's local one, and others.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::http::{self, Reply};

/// Tokens are `ACCOUNT-N`, with N from 1.
pub struct LuciServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Value>>>,
    lifetime: Arc<AtomicU64>,
    failures: Arc<AtomicU64>,
}

impl LuciServer {
    pub fn start() -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let lifetime = Arc::new(AtomicU64::new(3600));
        let failures = Arc::new(AtomicU64::new(0));
        let state = (
            Arc::clone(&requests),
            Arc::clone(&lifetime),
            Arc::clone(&failures),
        );
        let address = http::serve(move |request| {
            let (requests, lifetime, failures) = &state;
            assert_eq!(request.method, "POST");
            assert_eq!(request.target, "/rpc/LuciLocalAuthService.GetOAuthToken");
            assert_eq!(request.headers["content-type"], "application/json");
            let fails = failures.load(Ordering::Relaxed);
            if fails > 0 {
                failures.store(fails - 1, Ordering::Relaxed);
                return Reply::status(503, "not now");
            }
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            if body["secret"] != "c2VjcmV0" {
                return Reply::status(403, "bad secret");
            }
            let account = body["account_id"].as_str().unwrap().to_owned();
            let mut requests = requests.lock().unwrap();
            requests.push(body);
            if account == "broken" {
                return Reply::json(r#"{"error_code":5,"error_message":"no such account"}"#);
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let reply = json!({
                "access_token": format!("{account}-{}", requests.len()),
                "expiry": now.as_secs() + lifetime.load(Ordering::Relaxed),
            });
            Reply::json(reply.to_string())
        });
        Self {
            address,
            requests,
            lifetime,
            failures,
        }
    }

    /// A LUCI_CONTEXT with this server, and the members of the object `more`.
    pub fn context(&self, more: &str) -> String {
        let mut context: Value = serde_json::from_str(more).unwrap();
        if context.get("local_auth").is_none() {
            context["local_auth"] = json!({
                "rpc_port": self.address.port(),
                "secret": "c2VjcmV0",
                "default_account_id": "task",
                "accounts": [{"id": "task"}, {"id": "system"}],
            });
        }
        context.to_string()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Seconds that tokens live from now on.
    pub fn set_lifetime(&self, seconds: u64) {
        self.lifetime.store(seconds, Ordering::Relaxed);
    }

    /// The next requests get 503.
    pub fn fail(&self, count: u64) {
        self.failures.store(count, Ordering::Relaxed);
    }

    pub fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }
}
