//! Connections of each party, and requests of those who come through a proxy, counted so that none of
//! them takes all places.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::client::{self, Proxies};
use super::error::WebError;
use super::network::Network;
use super::routes::answer;
use super::tally::{Bounds, Held, Tally};

/// For one party: an eighth of all. A crowd behind one address has room, and leaves room to others.
const OF_ONE_MAX: usize = 512;

/// The places for connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Places {
    proxies: Proxies,
    taken: Tally<Network>,
}

impl Places {
    pub(super) fn new(proxies: Proxies) -> Self {
        Self::of(OF_ONE_MAX, proxies)
    }

    fn of(of_one: usize, proxies: Proxies) -> Self {
        Self { proxies, taken: Tally::new(Bounds { of_one, of_all: usize::MAX }) }
    }

    /// A place for a connection from here; None if this party has all of its places.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        if address.is_loopback() || self.proxies.has(address) {
            return Some(Place(None)); // It speaks for many: their requests are counted.
        }
        self.taken.take(Network::of(address)).map(|held| Place(Some(held)))
    }
}

/// A place that is free again when this is dropped; without a count for proxies.
#[derive(Debug)]
#[expect(dead_code, reason = "what is held is counted until it is dropped")]
pub(super) struct Place(Option<Held<Network>>);

/// Refuses a request while its party has as many under way through a proxy as it may have connections.
pub(super) async fn limit_requests(
    State(places): State<Places>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let Some(peer) = peer.map(|ConnectInfo(peer)| peer.ip()) else {
        return next.run(request).await;
    };
    let from = client::address(peer, request.headers(), &places.proxies);
    if from == peer.to_canonical() {
        return next.run(request).await; // Its connection is counted.
    }
    let Some(held) = places.taken.take(Network::of(from)) else {
        return answer(request.uri(), WebError::TooManyRequests);
    };
    next.run(request).await.map(|body| Body::new(Holding { body, _held: held }))
}

/// A body that holds a place until all of it is sent.
struct Holding {
    body: Body,
    _held: Held<Network>,
}

impl HttpBody for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::Router;
    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use axum::http::Request;
    use axum::middleware::from_fn_with_state;
    use axum::response::Response;
    use tower_service::Service;

    use super::{Places, limit_requests};

    #[test]
    fn one_party_leaves_room_for_others() {
        let places = Places::of(2, "10.0.1.1".parse().unwrap());
        let take = |address: &str| places.take(address.parse().unwrap());
        let held = [take("10.0.0.7"), take("::ffff:10.0.0.7")];
        assert!(held.iter().all(Option::is_some));
        assert!(take("10.0.0.7").is_none());
        assert!(take("10.0.0.8").is_some());
        let here: Vec<_> = (0..5).flat_map(|_| ["127.0.0.1", "10.0.1.1"]).map(take).collect();
        assert!(here.iter().all(Option::is_some));
        drop(held);
        assert!(take("10.0.0.7").is_some());
    }

    #[tokio::test]
    async fn whoever_comes_through_a_proxy_has_so_many_requests_at_once() {
        let places = Places::of(2, "10.0.1.1".parse().unwrap());
        let mut router: Router = Router::new()
            .fallback(|| async { "a page" })
            .layer(from_fn_with_state(places, limit_requests));
        let mut ask = async |peer: &str, client: &str| -> Response {
            let peer: SocketAddr = peer.parse().unwrap();
            let mut request = Request::new(Body::empty());
            request.headers_mut().insert("x-forwarded-for", client.parse().unwrap());
            request.extensions_mut().insert(ConnectInfo(peer));
            router.call(request).await.unwrap()
        };
        let proxy = "10.0.1.1:4000";
        let held = [ask(proxy, "192.0.2.1").await, ask(proxy, "192.0.2.1").await];
        assert_eq!(held.each_ref().map(|answer| answer.status().as_u16()), [200, 200]);
        assert_eq!(ask(proxy, "192.0.2.1").await.status(), 503);
        assert_eq!(ask(proxy, "192.0.2.2").await.status(), 200);
        assert_eq!(ask("192.0.2.1:4000", "192.0.2.1").await.status(), 200, "not through a proxy");
        drop(held);
        assert_eq!(ask(proxy, "192.0.2.1").await.status(), 200);
    }
}
