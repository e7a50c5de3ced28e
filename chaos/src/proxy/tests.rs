//! Each fault, as both ends see it.

use std::future::Future;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::{Duration, timeout};

use super::{Proxy, Strike, Way, Weather};

const LIMIT: Duration = Duration::from_secs(10);

/// Long enough to show that something does not come.
const WHILE: Duration = Duration::from_millis(100);

/// Both ends of a connection through a proxy.
struct Ends {
    proxy: Proxy,
    near: TcpStream,
    far: TcpStream,
}

fn with_ends<F: Future<Output = ()>>(test: impl FnOnce(Ends) -> F) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let upstream = listener.local_addr().unwrap();
        let proxy = Proxy::start(runtime.handle(), upstream).unwrap();
        let mut near = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        near.write_all(b"up").await.unwrap();
        expect(&mut far, b"up").await;
        far.write_all(b"down").await.unwrap();
        expect(&mut near, b"down").await;
        test(Ends { proxy, near, far }).await;
    });
}

async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut found = vec![0; bytes.len()];
    timeout(LIMIT, stream.read_exact(&mut found)).await.unwrap().unwrap();
    assert_eq!(found, bytes);
}

/// What comes until the connection ends, and whether it ended by a reset.
async fn rest(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut found = Vec::new();
    let ended = timeout(LIMIT, stream.read_to_end(&mut found)).await.unwrap();
    (found, ended.is_err())
}

async fn hears_nothing(stream: &mut TcpStream) -> bool {
    timeout(WHILE, stream.read_u8()).await.is_err()
}

#[test]
fn an_end_that_closes_is_seen_by_the_other_in_order() {
    with_ends(|Ends { proxy, mut near, mut far }| async move {
        let _stands = proxy;
        near.shutdown().await.unwrap();
        assert_eq!(rest(&mut far).await, (Vec::new(), false));
        far.write_all(b"late").await.unwrap();
        drop(far);
        assert_eq!(rest(&mut near).await, (b"late".to_vec(), false));
    });
}

#[test]
fn what_is_stalled_comes_later_and_whole() {
    with_ends(|Ends { proxy, mut near, mut far }| async move {
        proxy.set(Weather::Stalled(Way::Up));
        near.write_all(b"waits").await.unwrap();
        far.write_all(b"passes").await.unwrap();
        expect(&mut near, b"passes").await;
        assert!(hears_nothing(&mut far).await);
        proxy.set(Weather::StalledBoth);
        far.write_all(b"waits").await.unwrap();
        assert!(hears_nothing(&mut near).await);
        proxy.set(Weather::Slow { delay_ms: 1 });
        expect(&mut far, b"waits").await;
        expect(&mut near, b"waits").await;
    });
}

#[test]
fn a_cut_is_a_reset_for_both() {
    with_ends(|Ends { proxy, mut near, mut far }| async move {
        proxy.set(Weather::StalledBoth);
        near.write_all(b"lost").await.unwrap();
        assert_eq!(proxy.strike(Strike::Cut), 1);
        assert_eq!(rest(&mut near).await, (Vec::new(), true));
        assert_eq!(rest(&mut far).await, (Vec::new(), true));
    });
}

#[test]
fn one_way_can_close_alone() {
    with_ends(|Ends { proxy, mut near, mut far }| async move {
        proxy.strike(Strike::Shut(Way::Up));
        assert_eq!(rest(&mut far).await, (Vec::new(), false));
        far.write_all(b"goes on").await.unwrap();
        expect(&mut near, b"goes on").await;
    });
}

#[test]
fn a_half_open_connection_is_over_for_one_end_alone() {
    with_ends(|Ends { proxy, mut near, mut far }| async move {
        proxy.strike(Strike::DeafWorker);
        assert_eq!(rest(&mut far).await, (Vec::new(), true));
        near.write_all(b"nobody hears this").await.unwrap();
        assert!(hears_nothing(&mut near).await);
        near.write_all(b"nor this").await.unwrap();
    });
    with_ends(|Ends { proxy, mut near, mut far }| async move {
        proxy.strike(Strike::DeafManager);
        assert_eq!(rest(&mut near).await, (Vec::new(), true));
        far.write_all(b"nobody hears this").await.unwrap();
        assert!(hears_nothing(&mut far).await);
    });
}

#[test]
fn a_truncated_connection_ends_within_what_was_sent() {
    with_ends(|Ends { proxy, mut near, mut far }| async move {
        proxy.strike(Strike::Truncate { way: Way::Up, bytes: 3 });
        far.write_all(b"all").await.unwrap();
        expect(&mut near, b"all").await;
        near.write_all(b"cut here").await.unwrap();
        // The reset may overtake what was passed before it.
        let (passed, is_reset) = rest(&mut far).await;
        assert!(is_reset && b"cut".starts_with(&passed), "{passed:?}");
    });
}

#[test]
fn bytes_can_pass_twice() {
    with_ends(|Ends { proxy, mut near, mut far }| async move {
        proxy.strike(Strike::Repeat { way: Way::Down, bytes: 2 });
        // The strike is met by the next piece at the latest if the pump has seen it by then.
        expect_repeated(&mut far, &mut near).await;
    });
}

async fn expect_repeated(far: &mut TcpStream, near: &mut TcpStream) {
    for _ in 0..1000 {
        far.write_all(b"abcd").await.unwrap();
        expect(near, b"ab").await;
        expect(near, b"cd").await;
        if !hears_nothing_within(near, Duration::from_millis(20)).await {
            expect(near, b"d").await;
            return;
        }
    }
    panic!("nothing came twice");
}

/// Consumes the first byte of what was repeated.
async fn hears_nothing_within(stream: &mut TcpStream, limit: Duration) -> bool {
    match timeout(limit, stream.read_u8()).await {
        Ok(byte) => {
            assert_eq!(byte.unwrap(), b'c');
            false
        }
        Err(_) => true,
    }
}

#[test]
fn while_it_refuses_new_connections_end_and_old_ones_go_on() {
    with_ends(|Ends { proxy, mut near, mut far }| async move {
        proxy.set(Weather::Refusing);
        let mut other = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(rest(&mut other).await.0, Vec::<u8>::new());
        near.write_all(b"up").await.unwrap();
        expect(&mut far, b"up").await;
    });
}

#[test]
fn a_proxy_can_lead_elsewhere_and_to_nobody() {
    with_ends(|Ends { proxy, .. }| async move {
        let other = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        proxy.lead_to(other.local_addr().unwrap());
        let mut near = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut far, _) = timeout(LIMIT, other.accept()).await.unwrap().unwrap();
        near.write_all(b"up").await.unwrap();
        expect(&mut far, b"up").await;
        drop(other);
        let mut near = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(rest(&mut near).await.0, Vec::<u8>::new());
    });
}
