//! From the name of a host to its addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::thread;

use tokio::sync::oneshot;

/// The addresses of `host`.
pub(super) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ]);
    }
    // The C library's resolver is the one that the machine is set up for, and
    // it blocks: for once another thread, which lives as long as the question.
    let (answer, answered) = oneshot::channel();
    let host = host.to_owned();
    thread::Builder::new()
        .name("resolve".into())
        .spawn(move || {
            let found = (host.as_str(), port).to_socket_addrs();
            // Nobody may be there to hear it.
            let _ = answer.send(found.map(Iterator::collect));
        })?;
    answered
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the resolver panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::start;

    #[test]
    fn resolves_literals_and_names() {
        start(async {
            let v4 = resolve("127.0.0.1", 80).await.unwrap();
            assert_eq!(v4, ["127.0.0.1:80".parse().unwrap()]);
            let v6 = resolve("::1", 80).await.unwrap();
            assert_eq!(v6, ["[::1]:80".parse().unwrap()]);
            assert_eq!(resolve("LocalHost", 80).await.unwrap().len(), 2);
            assert!(resolve("no such host", 80).await.is_err());
        });
    }
}
